//! Weighted Maglev: which backend owns which slot, the same on every peer.
//!
//! A table is a function of the seed, the backends, their weights and which of them are down; the order they are
//! handed in and what was down before have no part in it. That is what lets the next holder of a vip go on with the
//! connections of the last one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;

/// Slots of a service of up to [`FEW`] backends; a prime, so that every skip visits every slot.
pub const FEW_SLOTS: u16 = 251;
/// Slots of a service of more backends.
pub const MANY_SLOTS: u16 = 1021;
/// Up to this many backends [`FEW_SLOTS`] keep the shares within a slot or two of the weights.
pub const FEW: usize = 10;

/// Number of slots for this many backends. 65,537 as in the Maglev paper takes nft 333 ms to load.
pub fn slot_count(backends: usize) -> u16 {
    if backends <= FEW { FEW_SLOTS } else { MANY_SLOTS }
}

/// FNV-1a, finished as splitmix64 does so that every bit counts; the same on every machine and in every version.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    let h = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

/// Seed of a service's hash, from the names alone; never 0, which nft does not print.
pub fn seed(cluster: &str, service: &str) -> u32 {
    let hash = stable_hash(format!("{cluster}\0{service}").as_bytes());
    // The upper half is as good as the lower.
    u32::try_from(hash >> 32).unwrap_or(u32::MAX).max(1)
}

/// What a table is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balancer {
    /// [`seed`].
    pub seed: u32,
    /// A prime: [`slot_count`].
    pub slots: u16,
    /// Backends with their weights.
    pub weights: BTreeMap<SocketAddrV4, u8>,
}

impl Balancer {
    /// The backend of every slot; empty where every backend is down.
    ///
    /// The slots of a backend that is down go to the others by weight; no other slot moves, and all come back as
    /// they were.
    pub fn table(&self, down: &BTreeSet<SocketAddrV4>) -> Vec<SocketAddrV4> {
        let all: Vec<_> = self.turns(|_| true);
        let up: Vec<_> = self.turns(|b| !down.contains(&b));
        if up.is_empty() {
            return vec![];
        }
        let mut table = vec![None; usize::from(self.slots)];
        fill(&mut table, all);
        for slot in table.iter_mut().filter(|slot| slot.is_some_and(|b| down.contains(&b))) {
            *slot = None;
        }
        fill(&mut table, up);
        table.into_iter().flatten().collect()
    }

    fn turns(&self, wanted: impl Fn(SocketAddrV4) -> bool) -> Vec<Turn> {
        self.weights
            .iter()
            .filter(|(b, w)| wanted(**b) && **w > 0)
            .map(|(b, w)| Turn::new(*b, *w, self.seed, self.slots))
            .collect()
    }
}

/// A backend on its way through its own order of the slots.
struct Turn {
    backend: SocketAddrV4,
    weight: u32,
    credit: u32,
    at: u32,
    skip: u32,
    slots: u32,
}

impl Turn {
    fn new(backend: SocketAddrV4, weight: u8, seed: u32, slots: u16) -> Self {
        let hash = |salt: &str| stable_hash(format!("{salt}{seed:08x}{backend}").as_bytes());
        let within = |h: u64, n: u16| u32::try_from(h % u64::from(n.max(1))).unwrap_or(0);
        Turn {
            backend,
            weight: u32::from(weight),
            credit: 0,
            at: within(hash("offset"), slots),
            skip: within(hash("skip"), slots.saturating_sub(1)) + 1,
            slots: u32::from(slots),
        }
    }

    /// Takes the first free slot in this backend's order; false where none is left.
    fn claim(&mut self, table: &mut [Option<SocketAddrV4>]) -> bool {
        for _ in 0..self.slots {
            let here = self.at as usize;
            self.at = (self.at + self.skip) % self.slots;
            if let Some(slot @ None) = table.get_mut(here) {
                *slot = Some(self.backend);
                return true;
            }
        }
        false
    }
}

/// Fills the free slots, the backends taking turns as often as their weights say.
fn fill(table: &mut [Option<SocketAddrV4>], mut turns: Vec<Turn>) {
    let heaviest = turns.iter().map(|t| t.weight).max().unwrap_or(0);
    // A round gives the heaviest backend a slot, so there are at most as many rounds as slots.
    for _ in 0..table.len() {
        for turn in &mut turns {
            turn.credit += turn.weight;
            if turn.credit >= heaviest {
                turn.credit -= heaviest;
                if !turn.claim(table) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
