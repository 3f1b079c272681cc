//! What people know from keepalived, told in the words of this language.

use super::cursor::Cursor;
use super::mistakes::Mistakes;
use super::{Diagnostic, codes};

/// keepalived's word in a `vrrp_instance`, and what it is here.
const WORDS: [(&str, &str); 14] = [
    ("virtual_ipaddress", "address \"192.0.2.10/24\""),
    ("virtual_ipaddress_excluded", "address \"192.0.2.10/24\" \"192.0.2.11/24\""),
    ("virtual_router_id", "vrid 51"),
    ("advert_int", "advertise \"1s\""),
    ("nopreempt", "preempt \"never\""),
    ("preempt_delay", "preempt \"after\" delay=\"5m\""),
    ("track_script", "track \"NAME\""),
    ("track_process", "track \"NAME\""),
    ("track_interface", "track \"NAME\""),
    ("track_file", "track \"NAME\""),
    ("unicast_peer", "unicast"),
    ("unicast_src_ip", "unicast"),
    ("garp_master_delay", "announce again=\"5s\""),
    ("garp_master_refresh", "announce every=\"1m\""),
];

/// Reports keepalived's words among a vip's settings, each with its like here.
pub(super) fn of_keepalived(c: &mut Cursor<'_>, out: &mut Mistakes) {
    for (word, here) in WORDS {
        for child in c.hidden(word) {
            let diagnostic = Diagnostic::error(codes::UNKNOWN_NODE, format!("{} has no setting {word}", c.title()))
                .at(child.span(), "keepalived's word")
                .help(format!("write `{here}`"));
            out.push(match here.starts_with("track") {
                true => {
                    diagnostic.help("and beside the vip what is looked at: `check \"NAME\" { process \"haproxy\" }`")
                }
                false => diagnostic,
            });
        }
    }
    for child in c.hidden("lvs") {
        out.later("lvs", child.span(), "write a `service`");
    }
}
