//! The top level of the language: each node to its decoder.

use kdl::KdlDocument;

use super::cursor::{Cursor, Names};
use super::draft::{Defaults, Draft};
use super::file::File;
use super::mistakes::{Mistakes, did_you_mean};
use super::{Diagnostic, codes, group, nodes, scalar, service, vip};

/// Every node that may stand at the top.
const NODES: [&str; 9] = ["cluster", "peer", "check", "vip", "group", "service", "sysctl", "defaults", "include"];

/// What later versions bring, and what to do until then.
const LATER: [(&str, &str); 2] = [
    (
        "firewall",
        "leave it out; nothing is opened or closed here: let port and backends through in your own nftables table",
    ),
    ("observe", "leave it out; `hactl status --json` says the same"),
];

/// Decodes documents into one draft.
pub(super) struct Decoder {
    pub draft: Draft,
    pub defaults: Defaults,
    peers: Names,
    checks: Names,
    vips: Names,
    groups: Names,
    services: Names,
    sysctls: Names,
}

impl Decoder {
    pub fn new() -> Self {
        Decoder {
            draft: Draft::default(),
            defaults: Defaults::default(),
            peers: Names::of("peer"),
            checks: Names::of("check"),
            vips: Names::of("vip"),
            groups: Names::of("group"),
            services: Names::of("service"),
            sysctls: Names::of("sysctl"),
        }
    }

    pub fn document(&mut self, file: &File<'_>, document: &KdlDocument, out: &mut Mistakes) {
        for node in document.nodes() {
            if out.is_full() {
                return;
            }
            let cursor = Cursor::new(file, node);
            match cursor.name() {
                "cluster" => self.cluster(cursor, out),
                "defaults" => self.defaults(cursor, out),
                "include" => include(cursor, out),
                _ => self.named(cursor, out),
            }
        }
    }

    fn named(&mut self, c: Cursor<'_>, out: &mut Mistakes) {
        let draft = &mut self.draft;
        match c.name() {
            "peer" => draft.peers.extend(self.peers.keep(nodes::peer(c, out), |p| &p.name, out)),
            "check" => draft.checks.extend(self.checks.keep(nodes::check(c, out), |k| &k.name, out)),
            "vip" => draft.vips.extend(self.vips.keep(vip::vip(c, out), |v| &v.name, out)),
            "group" => draft.groups.extend(self.groups.keep(group::group(c, out), |g| &g.name, out)),
            "service" => draft.services.extend(self.services.keep(service::service(c, out), |s| &s.name, out)),
            "sysctl" => draft.sysctls.extend(self.sysctls.keep(nodes::sysctl(c, out), |s| &s.key, out)),
            name => match LATER.iter().find(|(later, _)| *later == name) {
                Some((_, instead)) => out.later(name, c.span(), instead),
                None => {
                    // It may be a misspelt peer, check or vip, which is then not missing as well.
                    out.incomplete = true;
                    unknown(&c, out);
                }
            },
        }
    }

    fn cluster(&mut self, c: Cursor<'_>, out: &mut Mistakes) {
        let span = c.span();
        match &self.draft.cluster {
            Some(first) => out.duplicate("cluster", first.span, span),
            None => self.draft.cluster = Some(nodes::cluster(c, out)),
        }
    }

    fn defaults(&mut self, c: Cursor<'_>, out: &mut Mistakes) {
        match self.defaults.span {
            Some(first) => out.duplicate("defaults", first, c.span()),
            None => self.defaults = nodes::defaults(c, out),
        }
    }
}

/// The pattern is the caller's matter; here only its form is judged.
fn include(mut c: Cursor<'_>, out: &mut Mistakes) {
    if let Some(value) = scalar::only_argument(&mut c, out) {
        let _ = value.text(scalar::What { a: "a pattern of files", example: "\"nodes/*.kdl\"" }, out);
    }
    c.finish(out);
}

fn unknown(c: &Cursor<'_>, out: &mut Mistakes) {
    let name = c.name();
    let inside = match name {
        "address" | "vrid" | "priority" | "unicast" | "preempt" | "track" | "advertise" | "auth-pass"
        | "virtual-mac" | "accept" | "start-delay" | "announce" | "route" | "notify" => Some("vip"),
        "backend" | "listen" | "balance" | "probe" => Some("service"),
        _ => None,
    };
    let diagnostic = Diagnostic::error(codes::UNKNOWN_NODE, format!("there is no node {name} at the top of a file"))
        .at(c.span(), "unknown node");
    out.push(match inside {
        Some(parent) => diagnostic.help(format!("it stands in a block: write `{parent} \"NAME\" {{ {name} … }}`")),
        None => diagnostic.helps(did_you_mean(name, NODES.into_iter(), str::to_owned)),
    });
}
