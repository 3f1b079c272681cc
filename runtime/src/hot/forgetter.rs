//! A thread of its own for forgetting connections: reading a table of a hundred thousand takes longer than an advert may.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::conntrack::{Which, forget};

/// Wishes that may wait: each is for all addresses or backends of its kind, and made when a role or a backend changes.
const WISHES: usize = 64;

/// Portions of one wish at most: with [`super::conntrack::ENTRIES`] a million connections.
const PORTIONS: usize = 64;

/// Refusals that may wait to be told.
const REFUSALS: usize = 16;

enum Wish {
    To(BTreeSet<Ipv4Addr>),
    Answered(BTreeSet<Ipv4Addr>, Vec<SocketAddrV4>),
}

impl Wish {
    fn which(&self) -> Which<'_> {
        match self {
            Wish::To(addresses) => Which::To(addresses),
            Wish::Answered(addresses, backends) => Which::Answered(addresses, backends),
        }
    }
}

/// The near end of the thread, which is started with the first wish: a machine without services needs none.
#[derive(Debug, Default)]
pub struct Forgetter {
    thread: Option<(SyncSender<Wish>, Receiver<String>)>,
}

impl Forgetter {
    /// Every connection to one of these addresses is to be forgotten. Says whether that is under way; where it is not,
    /// it may be asked for later.
    pub fn to(&mut self, addresses: &BTreeSet<Ipv4Addr>) -> bool {
        self.wish(Wish::To(addresses.clone()))
    }

    /// Connections to one of these addresses are to be forgotten that one of these backends answers.
    pub fn answered(&mut self, addresses: &BTreeSet<Ipv4Addr>, backends: &[SocketAddrV4]) -> bool {
        self.wish(Wish::Answered(addresses.clone(), backends.to_vec()))
    }

    fn wish(&mut self, wish: Wish) -> bool {
        if self.thread.is_none() {
            self.thread = start();
        }
        self.thread.as_ref().is_some_and(|(wishes, _)| wishes.try_send(wish).is_ok())
    }

    /// What the kernel refused since the last call.
    pub fn refusals(&self) -> impl Iterator<Item = String> {
        self.thread.iter().flat_map(|(_, refusals)| refusals.try_iter())
    }

    /// Waits until all that was wished is done, or `limit`.
    pub fn finish(&mut self, limit: Duration) {
        if let Some((wishes, refusals)) = self.thread.take() {
            drop(wishes);
            // Ends with the thread, or the limit: whoever ends has nobody left to tell of a refusal.
            while refusals.recv_timeout(limit).is_ok() {}
        }
    }
}

/// In the network namespace of the calling thread, without its real-time priority, which is not inherited.
fn start() -> Option<(SyncSender<Wish>, Receiver<String>)> {
    let (wishes, inbox) = sync_channel::<Wish>(WISHES);
    let (refused, refusals) = sync_channel(REFUSALS);
    let work = move || {
        for wish in inbox {
            let mut portions = 0..PORTIONS;
            let done = loop {
                match (forget(wish.which()), portions.next()) {
                    (Ok(forgotten), Some(_)) if forgotten.more => {}
                    (done, _) => break done,
                }
            };
            if let Err(e) = done {
                // What does not fit is one of many.
                let _ = refused.try_send(e.to_string());
            }
        }
    };
    thread::Builder::new().name("conntrack".into()).spawn(work).ok()?;
    Some((wishes, refusals))
}
