//! `route "10.0.0.0/8" via="192.0.2.1"` of a vip: a route that follows it.

use std::net::IpAddr;

use super::cursor::{Cursor, Value};
use super::file::Spanned;
use super::mistakes::Mistakes;
use super::scalar::only_argument;
use super::{Diagnostic, Route, codes};
use crate::units::{Cidr, Family};

/// The highest number that the kernel takes for a metric or a table.
const HIGHEST: i64 = u32::MAX as i64;

/// The table of the machine's own addresses, which the kernel keeps by itself.
const LOCAL_TABLE: u32 = 255;

/// The routes that could be read.
pub(super) fn routes(c: &mut Cursor<'_>, out: &mut Mistakes) -> Vec<Spanned<Route>> {
    let mut routes: Vec<Spanned<Route>> = Vec::new();
    for node in c.children("route") {
        let span = node.span();
        let Some(value) = route(node, out) else { continue };
        let same = |r: &&Spanned<Route>| r.value.key() == value.key();
        match routes.iter().find(same) {
            Some(first) => out.duplicate(&format!("route \"{}\"", value.to), first.span, span),
            None => routes.push(Spanned { value, span }),
        }
    }
    routes
}

impl Route {
    /// What the kernel tells two routes apart by.
    pub(super) fn key(&self) -> (Cidr, u32, Option<u32>) {
        (self.to, self.table.unwrap_or(254), self.metric)
    }
}

fn route(mut c: Cursor<'_>, out: &mut Mistakes) -> Option<Route> {
    let to = only_argument(&mut c, out);
    let via = c.property("via", out).map(|v| v.address(out).filter(|a| is_hop(a, &v, out)));
    let family = via.as_ref().and_then(|v| v.as_ref()).map(|v| Family::of(v.value));
    let to = to.and_then(|v| network(&v, family, out));
    let src = c.property("src", out).map(|v| v.address(out));
    let dev = c.property("dev", out).map(|v| v.interface(out));
    let metric = c.property("metric", out).map(|v| v.number("a metric", 0..=HIGHEST, out));
    let table = c.property("table", out).map(|v| table(&v, out));
    c.finish(out);
    let to = to?;
    for (name, address) in [("via", &via), ("src", &src)] {
        let Some(Some(address)) = address else { continue };
        if Family::of(address.value) != to.value.family() {
            out.push(
                Diagnostic::error(
                    codes::BAD_ADDRESS,
                    format!("{name}= of {} is an address of the other family", to.value),
                )
                .at(address.span, Family::of(address.value).to_string())
                .at(to.span, to.value.family().to_string())
                .help(format!("write an {} address, or leave {name}= out", to.value.family())),
            );
            return None;
        }
    }
    let number = |n: Spanned<i64>| u32::try_from(n.value).ok();
    Some(Route {
        to: to.value,
        via: whole(via)?.map(|v| v.value),
        dev: whole(dev)?.map(|d| d.value),
        src: whole(src)?.map(|s| s.value),
        metric: whole(metric)?.and_then(number),
        table: whole(table)?,
    })
}

/// A property that is absent or right; `None` where it is wrong, which has been reported.
fn whole<T>(property: Option<Option<T>>) -> Option<Option<T>> {
    match property {
        Some(None) => None,
        Some(value) => Some(value),
        None => Some(None),
    }
}

/// The network that is reached, without host bits.
fn network(v: &Value<'_>, via: Option<Family>, out: &mut Mistakes) -> Option<Spanned<Cidr>> {
    if v.value.as_string() == Some("default") && v.ty.is_none() {
        let Some(family) = via else {
            out.push(
                v.wrong(codes::MISSING, "a default route is of IPv4 or of IPv6", "of which?")
                    .help("write the next router: `route \"default\" via=\"192.0.2.1\"`")
                    .help("or, without one, \"0.0.0.0/0\" or \"::/0\""),
            );
            return None;
        };
        let any: IpAddr = match family {
            Family::V4 => std::net::Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        return Some(Spanned { value: Cidr::new(any, 0).ok()?, span: v.span });
    }
    let to = v.cidr(out)?;
    let network = to.value.network();
    if network.address() != to.value.address() {
        out.push(
            v.wrong(
                codes::BAD_ADDRESS,
                format!("{} is an address in a network", to.value),
                "a route goes to a network",
            )
            .help(format!("write \"{network}\"")),
        );
        return None;
    }
    if network.address().is_multicast() {
        out.push(
            v.wrong(codes::BAD_ADDRESS, format!("{network} is of multicast groups"), "no machine is there")
                .help("write a network of machines, as in \"10.0.0.0/8\""),
        );
        return None;
    }
    Some(to)
}

fn is_hop(address: &Spanned<IpAddr>, value: &Value<'_>, out: &mut Mistakes) -> bool {
    let a = address.value;
    let fits = !a.is_unspecified() && !a.is_multicast() && !a.is_loopback();
    if !fits {
        out.push(
            value
                .wrong(
                    codes::BAD_ADDRESS,
                    format!("{a} cannot be the next router"),
                    "this is no other machine's address",
                )
                .help("write the router's own address, as in via=\"192.0.2.1\""),
        );
    }
    fits
}

fn table(v: &Value<'_>, out: &mut Mistakes) -> Option<u32> {
    if let Some(number) = v.value.as_string().and_then(|word| match word {
        "main" => Some(254),
        "default" => Some(253),
        _ => None,
    }) {
        out.push(
            v.wrong(codes::WRONG_KIND, "a table of routes is a number here", "its name is known to `ip` alone")
                .help(format!("write table={number}")),
        );
        return None;
    }
    let number = u32::try_from(v.number("a table of routes", 1..=HIGHEST, out)?.value).ok()?;
    if number == LOCAL_TABLE {
        out.push(
            v.wrong(codes::OUT_OF_RANGE, "table 255 is the kernel's own", "of the machine's own addresses")
                .help("leave table= out, or write another number"),
        );
        return None;
    }
    Some(number)
}
