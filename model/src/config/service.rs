//! `service "ui" { … }` and its probe.

use super::cursor::Cursor;
use super::draft::{BackendDraft, ProbeDraft, ServiceDraft, ServiceSettings};
use super::file::{Field, Spanned};
use super::mistakes::Mistakes;
use super::nodes::{expect, http_path, pace};
use super::scalar::{self, identity, only_argument, setting};
use super::{Balance, Diagnostic, ProbeKind, SourceAddress, codes};

pub(super) fn service(mut c: Cursor<'_>, out: &mut Mistakes) -> Option<ServiceDraft> {
    let name = identity(&mut c, out).filter(|name| begins_with_letter(name, out));
    let (vip, port) = listen(&mut c, out);
    let settings = settings(&mut c, out);
    let backends = backends(&mut c, out);
    c.finish(out);
    Some(ServiceDraft { name: name?, vip, port, settings, backends })
}

/// A service's name becomes part of the names of nftables' objects, which begin with a letter.
fn begins_with_letter(name: &Spanned<String>, out: &mut Mistakes) -> bool {
    let fits = name.value.starts_with(|c: char| c.is_ascii_alphabetic());
    if !fits {
        out.push(
            Diagnostic::error(codes::BAD_NAME, format!("\"{}\" cannot be a service", name.value))
                .at(name.span, "nftables wants a letter first")
                .help(format!("write \"tcp-{}\"", name.value)),
        );
    }
    fits
}

fn listen(c: &mut Cursor<'_>, out: &mut Mistakes) -> (Field<String>, Field<u16>) {
    let Some(mut node) = c.child("listen", out) else {
        if c.misspelt().contains("listen") {
            return (Field::Bad, Field::Bad);
        }
        out.push(
            Diagnostic::error(codes::MISSING, format!("{} listens nowhere", c.title()))
                .at(c.span(), "no `listen`")
                .help("write `listen vip=\"ui\" port=8006`"),
        );
        return (Field::Bad, Field::Bad);
    };
    let vip = node.property("vip", out).map(|v| Field::present(v.name(out)));
    let port = node.property("port", out).map(|v| Field::present(v.port(out)));
    if node.property("ports", out).is_some() {
        out.later("a list of ports", node.span(), "write a service for each port, with port=");
    }
    if let Some(protocol) = node.property("protocol", out)
        && protocol.value.as_string() == Some("udp")
    {
        out.later("protocol=\"udp\"", protocol.span, "leave it out: tcp is balanced");
    } else if let Some(protocol) = node.property("protocol", out) {
        protocol.word("protocol", &[("tcp", ())], out);
    }
    for (absent, what, example) in [(vip.is_none(), "vip", "vip=\"ui\""), (port.is_none(), "port", "port=8006")] {
        if absent && !node.has_property_like(what) {
            out.push(
                Diagnostic::error(codes::MISSING, format!("listen of {} has no {what}", c.title()))
                    .at(node.span(), format!("no {what}="))
                    .help(format!("write `listen … {example}`")),
            );
        }
    }
    node.finish(out);
    (vip.unwrap_or(Field::Bad), port.unwrap_or(Field::Bad))
}

/// Everything that may also stand in `defaults { service { … } }`.
pub(super) fn settings(c: &mut Cursor<'_>, out: &mut Mistakes) -> ServiceSettings {
    let balance = setting(c, "balance", out, |v, out| {
        if let Some(later @ ("round-robin" | "random")) = v.value.as_string() {
            let instead = "write \"flow\", which spreads by client address and port, or \"source\", which is sticky";
            out.later(&format!("balance \"{later}\""), v.span, instead);
            return None;
        }
        v.word("way to balance", &[("flow", Balance::Flow), ("source", Balance::Source)], out)
    });
    let _ = setting(c, "source-address", out, |v, out| {
        if let Some(later @ ("node" | "client")) = v.value.as_string() {
            let instead = "leave it out: backends see the vip, and connections survive a failover";
            out.later(&format!("source-address \"{later}\""), v.span, instead);
            return None;
        }
        v.word("source address", &[("vip", SourceAddress::Vip)], out)
    });
    let probe = c.child("probe", out).map(|p| probe(p, out));
    ServiceSettings { balance, probe }
}

fn backends(c: &mut Cursor<'_>, out: &mut Mistakes) -> Vec<BackendDraft> {
    let nodes = c.children("backend");
    if nodes.is_empty() && !c.misspelt().contains("backend") {
        out.push(
            Diagnostic::error(codes::MISSING, format!("{} has no backend", c.title()))
                .at(c.span(), "where do its connections go?")
                .help("write `backend \"pve1\" port=8006` or `backend \"db1\" \"192.0.2.21:5432\"`"),
        );
    }
    let mut backends: Vec<BackendDraft> = Vec::new();
    for node in nodes {
        let Some(backend) = backend(node, out) else { continue };
        match backends.iter().find(|b| b.name.value == backend.name.value) {
            Some(first) => {
                out.duplicate(&format!("backend \"{}\"", backend.name.value), first.name.span, backend.name.span)
            }
            None => backends.push(backend),
        }
    }
    backends
}

fn backend(mut c: Cursor<'_>, out: &mut Mistakes) -> Option<BackendDraft> {
    let name = identity(&mut c, out);
    let endpoint = match c.argument() {
        Some(v) => Field::present(v.endpoint(out)),
        None => Field::Absent,
    };
    let port = c.property("port", out).map_or(Field::Absent, |v| Field::present(v.port(out)));
    if let (Field::Good(endpoint), Field::Good(port)) = (&endpoint, &port) {
        out.push(
            Diagnostic::error(codes::DUPLICATE, format!("{} has two ports", c.title()))
                .at(port.span, "this one")
                .at(endpoint.span, "and the one here")
                .help("leave port= out"),
        );
    }
    let weight = c.property("weight", out).map_or(Field::Absent, |v| {
        Field::present(
            v.number("the weight of a backend", 1..=255, out)
                .and_then(|n| Some(Spanned { value: u8::try_from(n.value).ok()?, span: n.span })),
        )
    });
    c.later(&[("backup", "leave this backend out; it would get its share of the connections")], out);
    c.finish(out);
    Some(BackendDraft { name: name?, endpoint, port, weight })
}

/// A probe; what it looks at may be left to `defaults { probe { … } }`.
pub(super) fn probe(mut c: Cursor<'_>, out: &mut Mistakes) -> ProbeDraft {
    let mut draft = ProbeDraft::default();
    let before = out.list.len();
    for kind in ["tcp", "tls", "http"] {
        for node in c.children(kind) {
            let span = node.span();
            let (decoded, port) = probe_kind(node, out);
            match &draft.kind {
                Field::Good(first) => {
                    out.push(
                        Diagnostic::error(codes::DUPLICATE, "a probe looks at two things")
                            .at(span, "the second")
                            .at(first.span, "the first")
                            .help("keep one of them"),
                    );
                }
                _ => draft.kind = Field::present(decoded.map(|value| Spanned { value, span })),
            }
            draft.port = port;
        }
    }
    c.later(
        &[
            ("ping", "write `tcp`, which looks at the port itself"),
            ("command", "write `tcp`, `tls` or `http \"/path\"`"),
        ],
        out,
    );
    if out.list.len() > before && draft.kind.is_absent() {
        draft.kind = Field::Bad;
    }
    draft.pace = pace(&mut c, out);
    c.finish(out);
    draft
}

fn probe_kind(mut c: Cursor<'_>, out: &mut Mistakes) -> (Option<ProbeKind>, Field<u16>) {
    let port = c.property("port", out).map_or(Field::Absent, |v| Field::present(v.port(out)));
    let kind = match c.name() {
        "tcp" => Some(ProbeKind::Tcp),
        "tls" => Some(ProbeKind::Tls),
        _ => {
            let path = only_argument(&mut c, out).and_then(|v| {
                let path = v.text(scalar::PATH, out)?;
                let fits = http_path(&path.value);
                if !fits {
                    out.push(
                        v.wrong(
                            codes::BAD_URL,
                            format!("{} is not the path of a URL", v.shown()),
                            "must begin with `/`, without blanks",
                        )
                        .help("the backend's address is known already: write only the path, as in \"/patroni\""),
                    );
                }
                fits.then_some(path.value)
            });
            expect(&mut c, out).zip(path).map(|(expect, path)| ProbeKind::Http { path, expect })
        }
    };
    c.finish(out);
    (kind, port)
}
