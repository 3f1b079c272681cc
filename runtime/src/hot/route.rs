//! Routes that follow a vip's addresses: with a protocol number that marks them as ours.

use std::io;
use std::net::IpAddr;

use model::config::Route;
use model::observed::OUR_MARK;

use super::HotError;
use super::message::{Batch, Body};
use super::netlink::{Netlink, Refusal};

/// Attributes of a route (linux/rtnetlink.h): RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_TABLE.
const DESTINATION: u16 = 1;
const INTERFACE: u16 = 4;
const GATEWAY: u16 = 5;
const PRIORITY: u16 = 6;
const SOURCE: u16 = 7;
const TABLE: u16 = 15;

/// RT_TABLE_MAIN, RTN_UNICAST, RT_SCOPE_LINK and …_UNIVERSE.
const MAIN: u32 = 254;
const UNICAST: u8 = 1;
const SCOPE_LINK: u8 = 253;
const SCOPE_UNIVERSE: u8 = 0;

/// The long-lived socket for routes.
#[derive(Debug)]
pub struct Routes {
    netlink: Netlink,
}

/// A route with the index of the interface it leaves by.
pub type Leaving<'a> = (&'a Route, u32);

impl Routes {
    /// Opens it in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Routes> {
        Ok(Routes { netlink: Netlink::open(netlink_sys::protocols::NETLINK_ROUTE)? })
    }

    /// The socket's port: what events of its own changes carry.
    pub fn port(&self) -> u32 {
        self.netlink.port()
    }

    /// Adds routes with our mark. One that stands and is ours is success.
    ///
    /// # Errors
    /// The first refusal, after all were tried.
    pub fn add(&mut self, routes: &[Leaving]) -> Result<(), HotError> {
        let mut failure = None;
        for leaving in routes {
            // Ours of an earlier shape goes first; what is not ours is left, and is then in the way.
            let refused = match self.change(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, leaving)? {
                Some(libc::EEXIST) => {
                    self.change(libc::RTM_DELROUTE, 0, leaving)?;
                    self.change(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, leaving)?
                }
                other => other,
            };
            if let Some(code) = refused {
                failure = failure.or(Some(error("adding", leaving.0, code)));
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Adds what is missing of routes that stood with our mark, and says which.
    ///
    /// # Errors
    /// The first refusal, after all were tried.
    pub fn put_back<'a>(&mut self, routes: &[Leaving<'a>]) -> Result<Vec<&'a Route>, HotError> {
        let (mut missing, mut failure) = (Vec::new(), None);
        for leaving in routes {
            match self.change(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, leaving)? {
                None => missing.push(leaving.0),
                Some(libc::EEXIST) => {}
                Some(code) => failure = failure.or(Some(error("adding", leaving.0, code))),
            }
        }
        failure.map_or(Ok(missing), Err)
    }

    /// Deletes those of the routes that carry our mark; what is absent or another's is left alone.
    ///
    /// # Errors
    /// The first refusal, after all were tried.
    pub fn delete(&mut self, routes: &[Leaving]) -> Result<(), HotError> {
        let mut failure = None;
        for leaving in routes {
            match self.change(libc::RTM_DELROUTE, 0, leaving)? {
                // Gone with an address or with its interface.
                None | Some(libc::ESRCH | libc::ENODEV | libc::ENETDOWN | libc::ENETUNREACH) => {}
                Some(code) => failure = failure.or(Some(error("deleting", leaving.0, code))),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn change(&mut self, kind: u16, flags: i32, leaving: &Leaving) -> Result<Option<Refusal>, HotError> {
        let mut batch: Batch = self.netlink.batch();
        batch.request(kind, flags | libc::NLM_F_ACK, |body| put(body, kind, leaving));
        let answers = self.netlink.each(&batch).map_err(|source| HotError::socket("changing routes", source))?;
        Ok(answers.into_iter().flatten().next())
    }
}

/// Those of these routes that are not among the others.
pub fn without(routes: &[Route], others: &[Route]) -> Vec<Route> {
    routes.iter().filter(|r| !others.contains(r)).cloned().collect()
}

fn put(body: &mut Body, kind: u16, (route, index): &Leaving) {
    let table = route.table.unwrap_or(MAIN);
    let family = if route.to.v4().is_some() { libc::AF_INET } else { libc::AF_INET6 };
    let scope = match (route.to.v4(), route.via) {
        (Some(_), None) => SCOPE_LINK,
        _ => SCOPE_UNIVERSE,
    };
    // RT_SCOPE_NOWHERE in a deletion: of any scope. RTA_TABLE says the table: the field has no room for all.
    let scope = if kind == libc::RTM_DELROUTE { 255 } else { scope };
    body.put(&[family as u8, route.to.prefix(), 0, 0, 0, OUR_MARK, scope, UNICAST, 0, 0, 0, 0]);
    if route.to.prefix() > 0 {
        address(body, DESTINATION, route.to.address());
    }
    body.attribute(TABLE, &table.to_ne_bytes());
    body.attribute(INTERFACE, &index.to_ne_bytes());
    route.via.into_iter().for_each(|via| address(body, GATEWAY, via));
    route.src.into_iter().for_each(|src| address(body, SOURCE, src));
    route.metric.into_iter().for_each(|metric| body.attribute(PRIORITY, &metric.to_ne_bytes()));
}

fn address(body: &mut Body, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(a) => body.attribute(kind, &a.octets()),
        IpAddr::V6(a) => body.attribute(kind, &a.octets()),
    }
}

fn error(doing: &str, route: &Route, code: Refusal) -> HotError {
    let what = format!("the route to {}", route.to);
    match code {
        libc::EEXIST => HotError::Foreign { what },
        _ => HotError::Refused { what: format!("{doing} {what}"), source: io::Error::from_raw_os_error(code) },
    }
}
