//! What IPv4 and IPv6 ask of a vip: a version that has the family, members that are reached in it, something to hold.

use super::draft::{Draft, VipDraft};
use super::mistakes::Mistakes;
use super::{Diagnostic, Version, codes};
use crate::units::Family;

pub(super) fn check(draft: &Draft, vip: &VipDraft, out: &mut Mistakes) {
    version(vip, out);
    unicast(draft, vip, out);
    routes(vip, out);
    if vip.addressless && !vip.misspelt.contains("address") {
        nothing(vip, out);
    }
}

/// RFC 3768 knows IPv4 alone.
fn version(vip: &VipDraft, out: &mut Mistakes) {
    let own = &vip.settings;
    let Some((_, span)) = vip.families().find(|(family, _)| *family == Family::V6) else { return };
    if own.spoken() != Version::V2 {
        return;
    }
    let diagnostic = Diagnostic::error(codes::VERSION_CONFLICT, "version 2 of VRRP has no IPv6").at(span, "IPv6");
    out.push(match (own.version.get(), own.auth_pass.get()) {
        (Some(version), _) => diagnostic
            .at(version.span, "version 2 is asked for here")
            .help("write `version 3`, or the IPv6 addresses into a vip of their own"),
        (None, Some(password)) => diagnostic
            .at(password.span, "a password means version 2")
            .help("leave `auth-pass` out, or write the IPv6 addresses into a vip of their own"),
        (None, None) => diagnostic.help("write `version 3`"),
    });
}

/// Adverts go to each member's address of the same family.
fn unicast(draft: &Draft, vip: &VipDraft, out: &mut Mistakes) {
    let Some(unicast) = vip.settings.unicast.get().filter(|u| u.value) else { return };
    for member in vip.settings.members() {
        let Some(peer) = draft.peers.iter().find(|p| p.name.value == member.peer.value) else { continue };
        let Some(address) = peer.address.get() else { continue };
        for (family, held) in vip.families() {
            if peer.address_of(family).is_some() {
                continue;
            }
            let example = if family == Family::V4 { "192.0.2.11" } else { "2001:db8::11" };
            let (name, known) = (&member.peer.value, address.value);
            out.push(
                Diagnostic::error(codes::UNICAST_FAMILY, format!("{name} cannot be reached over {family}"))
                    .at(address.span, format!("an {} address alone", Family::of(known)))
                    .at(unicast.span, format!("adverts go to each member's {family} address"))
                    .at(held, format!("since vip \"{}\" holds this", vip.name.value))
                    .help(format!(
                        "write its {family} address as well: `peer \"{name}\" address=\"{known}\" {{ address \"{example}\" }}`"
                    )),
            );
        }
    }
}

/// A route is there while addresses of its family are.
fn routes(vip: &VipDraft, out: &mut Mistakes) {
    for route in &vip.settings.routes {
        let family = route.value.family();
        if vip.families().any(|(has, _)| has == family) || vip.addresses.is_empty() && !vip.addressless {
            continue;
        }
        out.push(
            Diagnostic::error(
                codes::ROUTE_FAMILY,
                format!(
                    "vip \"{}\" has no {family} address that the route to {} could follow",
                    vip.name.value, route.value.to
                ),
            )
            .at(route.span, format!("an {family} route"))
            .at(vip.name.span, "its addresses are of another family, or none")
            .help(format!("add an {family} address, or write the route into a vip that has one")),
        );
    }
}

/// A vip without address moves what its notify program moves.
fn nothing(vip: &VipDraft, out: &mut Mistakes) {
    if vip.settings.notify.is_absent() {
        out.push(
            Diagnostic::error(codes::MISSING, format!("vip \"{}\" has no address", vip.name.value))
                .at(vip.name.span, "what is held?")
                .help("write `address \"192.0.2.10/24\"`")
                .help("or, where a program moves something else, `notify \"/usr/local/sbin/notify.sh\"`"),
        );
    }
    if let Some(mac) = vip.settings.virtual_mac.get().filter(|m| m.value) {
        out.push(
            Diagnostic::error(
                codes::SURPLUS,
                format!("vip \"{}\" has no address that could be at a virtual MAC", vip.name.value),
            )
            .at(mac.span, "nothing is held")
            .help("leave it out, or write `own-mac` where a default asks for it"),
        );
    }
}
