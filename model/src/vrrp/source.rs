//! Where adverts are sent from, and what becomes of a master whose own address somebody takes away.

use std::net::IpAddr;
use std::time::Duration;

use super::LinkState;
use super::instance::{Instance, State};
use super::turn::Turn;
use crate::desired::Reach;
use crate::units::{Family, Moment};

/// How long a master goes on speaking from an address that its interface has lost: whoever configures an interface
/// anew (`ip addr flush`, networkd, NetworkManager) gives it its addresses back within seconds.
const GONE: Duration = Duration::from_secs(10);

/// What the interface is by now, and when that counts.
#[derive(Debug)]
pub(super) struct Bare {
    pub(super) until: Moment,
    link: LinkState,
}

impl Instance {
    /// Where adverts are sent from; `None` while the link is not up or has no address.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.source_on(self.link.as_ref()?)
    }

    fn source_on(&self, link: &LinkState) -> Option<IpAddr> {
        match (&self.settings.reach, link) {
            (Reach::Unicast { local, .. }, LinkState::Up { .. }) => Some(*local),
            (Reach::Multicast, LinkState::Up { primary, link_local }) => match self.settings.family {
                Family::V4 => primary.map(IpAddr::V4),
                // RFC 9568 §5.1.2.1.
                Family::V6 => link_local.map(IpAddr::V6),
            },
            _ => None,
        }
    }

    /// What a changed link is taken for: as it was, for some time, by a master that lost nothing but its own address.
    pub(super) fn bear(&mut self, now: Moment, link: LinkState) -> LinkState {
        let is_bare = matches!(link, LinkState::Up { .. }) && self.source_on(&link).is_none();
        let before = self.link.clone().filter(|before| self.source_on(before).is_some());
        match before {
            Some(before) if is_bare && matches!(self.state, State::Master(_)) => {
                let until = self.bare.as_ref().map_or(now + GONE, |bare| bare.until);
                self.bare = Some(Bare { until, link });
                before
            }
            _ => {
                self.bare = None;
                link
            }
        }
    }

    /// The address has not come back.
    pub(super) fn bear_no_longer(&mut self, turn: &mut Turn) {
        if let Some(bare) = self.bare.take_if(|bare| bare.until <= turn.now) {
            self.link = Some(bare.link);
            self.assess(turn);
        }
    }
}
