//! What is wrong between services, their vips and their backends.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::draft::{BackendDraft, Draft, ServiceDraft, VipDraft};
use super::mistakes::{Mistakes, did_you_mean};
use super::{Diagnostic, Span, codes};
use crate::units::Family;

pub(super) fn check(draft: &Draft, out: &mut Mistakes) {
    let mut ports: BTreeMap<(&str, u16), &ServiceDraft> = BTreeMap::new();
    for service in &draft.services {
        vip(draft, service, out);
        if let (Some(vip), Some(port)) = (service.vip.get(), service.port.get()) {
            match ports.get(&(vip.value.as_str(), port.value)) {
                Some(first) => port_taken(first, service, out),
                None => {
                    ports.insert((vip.value.as_str(), port.value), service);
                }
            }
        }
        if let Some(probe) = &service.settings.probe {
            if probe.kind.is_absent() {
                out.push(
                    Diagnostic::error(
                        codes::MISSING,
                        format!("the probe of service \"{}\" looks at nothing", service.name.value),
                    )
                    .at(service.name.span, "no kind of probe")
                    .help("write `probe { tcp }`, `probe { tls }` or `probe { http \"/health\" }`"),
                );
            }
            super::cross::patience(&probe.pace, out);
        }
        backends(draft, service, out);
    }
}

fn vip(draft: &Draft, service: &ServiceDraft, out: &mut Mistakes) {
    let Some(vip) = service.vip.get() else { return };
    if let Some(held) = draft.vips.iter().find(|v| v.name.value == vip.value) {
        return families(held, service, out);
    }
    if out.incomplete {
        return;
    }
    let known = draft.vips.iter().map(|v| v.name.value.as_str());
    out.push(
        Diagnostic::error(codes::UNKNOWN_VIP, format!("there is no vip \"{}\"", vip.value))
            .at(vip.span, "unknown vip")
            .helps(did_you_mean(&vip.value, known, |n| format!("vip=\"{n}\""))),
    );
}

/// A service is balanced on the IPv4 addresses of its vip.
fn families(vip: &VipDraft, service: &ServiceDraft, out: &mut Mistakes) {
    let (Some(said), name) = (service.vip.get(), &service.name.value) else { return };
    let has = |wanted: Family| vip.families().find(|(family, _)| *family == wanted);
    match (has(Family::V4), has(Family::V6)) {
        (Some(_), Some((_, span))) => out.push(
            Diagnostic::warning(
                codes::SERVICE_PARTIAL,
                format!("service \"{name}\" listens on the IPv4 addresses of vip \"{}\" alone", said.value),
            )
            .at(said.span, "IPv6 is not balanced in this version")
            .at(span, "nothing listens here")
            .help("write the IPv6 addresses into a vip of their own, and put both into one `group`"),
        ),
        (None, Some((_, span))) => out.push(
            Diagnostic::error(codes::LATER_IPV6, format!("service \"{name}\" listens on a vip without IPv4"))
                .at(said.span, "IPv6 is not balanced in this version")
                .at(span, "IPv6")
                .help("write an IPv4 address into the vip as well"),
        ),
        (None, None) if vip.addressless && !vip.misspelt.contains("address") => out.push(
            Diagnostic::error(codes::MISSING, format!("service \"{name}\" listens on a vip without address"))
                .at(said.span, "at which address?")
                .at(vip.name.span, "holds none")
                .help("write an address into the vip, or leave the service out"),
        ),
        _ => {}
    }
}

fn port_taken(first: &ServiceDraft, again: &ServiceDraft, out: &mut Mistakes) {
    let (Some(here), Some(there), Some(vip)) = (again.port.get(), first.port.get(), again.vip.get()) else { return };
    out.push(
        Diagnostic::error(
            codes::PORT_TAKEN,
            format!("two services listen on port {} of vip \"{}\"", here.value, vip.value),
        )
        .at(here.span, format!("service \"{}\"", again.name.value))
        .at(there.span, format!("service \"{}\"", first.name.value))
        .help("put all backends into one service, or listen on another port"),
    );
}

fn backends(draft: &Draft, service: &ServiceDraft, out: &mut Mistakes) {
    let mut targets: BTreeMap<SocketAddr, Span> = BTreeMap::new();
    let listen = service.port.get().map_or(0, |p| p.value);
    for backend in &service.backends {
        if backend.endpoint.is_absent() && !draft.peers.iter().any(|p| p.name.value == backend.name.value) {
            if !out.incomplete {
                nowhere(draft, backend, out);
            }
            continue;
        }
        let Some(target) = draft.target(backend, listen) else { continue };
        if target.is_ipv6() {
            out.push(
                Diagnostic::error(
                    codes::LATER_IPV6,
                    format!("backend \"{}\" is at an IPv6 address", backend.name.value),
                )
                .at(backend.name.span, "IPv6 is not balanced in this version")
                .help(format!(
                    "write its IPv4 address: `backend \"{}\" \"192.0.2.21:{}\"`",
                    backend.name.value,
                    target.port()
                )),
            );
        }
        if let Some(first) = targets.get(&target) {
            out.push(
                Diagnostic::error(codes::DUPLICATE, format!("two backends are at {target}"))
                    .at(backend.name.span, "this one")
                    .at(*first, "and this one")
                    .help("keep one of them; `weight=2` gives it a double share"),
            );
        }
        targets.entry(target).or_insert(backend.name.span);
    }
}

fn nowhere(draft: &Draft, backend: &BackendDraft, out: &mut Mistakes) {
    let name = &backend.name.value;
    let known = draft.peers.iter().map(|p| p.name.value.as_str());
    let port = backend.port.get().map_or(5432, |p| p.value);
    out.push(
        Diagnostic::error(codes::UNKNOWN_PEER, format!("there is no peer \"{name}\", and no address is written"))
            .at(backend.name.span, "where is it?")
            .helps(did_you_mean(name, known, |n| format!("\"{n}\"")))
            .help(format!("or write the address: `backend \"{name}\" \"192.0.2.21:{port}\"`")),
    );
}
