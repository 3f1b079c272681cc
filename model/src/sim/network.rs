//! The segment between the machines, with everything that segments do to packets.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::rng::Rng;
use crate::units::Family;
use crate::vrrp::Received;
use crate::vrrp::packet::group;

/// How many past packets a replay chooses from.
const MEMORY: usize = 8;

/// What happens to packets now.
#[derive(Debug, Default)]
pub struct Network {
    /// Lost, in a thousand.
    pub loss: u64,
    /// Doubled, in a thousand.
    pub duplication: u64,
    /// Least and most time on the wire; a wide range reorders.
    pub delay: (Duration, Duration),
    /// Directions between machines (by index) that carry nothing.
    pub cut: BTreeSet<(usize, usize)>,
    /// The same on one segment alone.
    pub cut_on: BTreeSet<(usize, usize, String)>,
    /// Recent packets and whom they went to.
    past: VecDeque<(usize, Received)>,
}

impl Network {
    /// Whether anything gets from one machine to the other on a segment.
    pub fn connects(&self, (from, to): (usize, usize), segment: &str) -> bool {
        let cut = || self.cut_on.iter().any(|(f, t, on)| (*f, *t) == (from, to) && on == segment);
        !self.cut.contains(&(from, to)) && !cut()
    }

    /// After how long each copy of a packet arrives; none where it is lost.
    pub fn carry(&mut self, path: (usize, usize), packet: &Received, rng: &mut Rng) -> Vec<Duration> {
        if rng.chance(self.loss) {
            return Vec::new();
        }
        if self.past.len() == MEMORY {
            self.past.pop_front();
        }
        self.past.push_back((path.1, packet.clone()));
        let copies = if rng.chance(self.duplication) { 2 } else { 1 };
        (0..copies).map(|_| self.draw_delay(rng)).collect()
    }

    /// After how long an announcement arrives; `None` where it is lost.
    pub fn carry_word(&mut self, rng: &mut Rng) -> Option<Duration> {
        let lost = rng.chance(self.loss);
        (!lost).then(|| self.draw_delay(rng))
    }

    /// An old packet, to be heard again.
    pub fn replay(&mut self, rng: &mut Rng) -> Option<(usize, Received)> {
        let at = rng.index(self.past.len());
        self.past.get(at).cloned()
    }

    /// A perfect segment again; what was heard before is not heard again.
    pub fn heal(&mut self) {
        *self = Network { delay: self.delay, ..Network::default() };
    }

    fn draw_delay(&self, rng: &mut Rng) -> Duration {
        let (least, most) = self.delay;
        let span = u64::try_from(most.saturating_sub(least).as_nanos()).unwrap_or(0);
        least + Duration::from_nanos(rng.below(span + 1))
    }
}

/// Whether an advert to this destination reaches a machine with these addresses.
pub fn reaches(destination: IpAddr, addresses: &[IpAddr]) -> bool {
    destination == group(Family::of(destination)) || addresses.contains(&destination)
}
