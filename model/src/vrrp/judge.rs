//! What a received packet is worth: nothing of it is believed before it has been judged, in this order: TTL, length,
//! version, vrid, checksum, authentication, source, interval, list, our own. What is dropped changes no state.

use super::Received;
use super::cause::Cause;
use super::instance::Instance;
use super::packet::{self, Advert, Auth, Body};
use super::turn::Turn;
use crate::config::Version;
use crate::desired::Reach;

/// Why a packet for no virtual router of ours is dropped.
pub(super) fn stranger(packet: &Received) -> Cause {
    match packet::envelope(&packet.message) {
        _ if packet.ttl != packet::TTL => Cause::Ttl,
        None => Cause::Length,
        Some(e) if !(2..=3).contains(&e.version) => Cause::Version,
        Some(_) => Cause::Vrid,
    }
}

impl Instance {
    /// Judges a packet whose vrid and interface are ours, and hears it where it is worth it.
    pub(super) fn packet(&mut self, turn: &mut Turn, packet: &Received) {
        match self.judge(packet) {
            Ok(advert) => self.receive(turn, (packet.source, &advert)),
            Err(cause) => {
                let told = self.counters.drops.count(&self.settings.name, cause, packet.source);
                turn.tell(told);
            }
        }
    }

    fn judge(&self, packet: &Received) -> Result<Advert, Cause> {
        let s = &self.settings;
        if packet.ttl != packet::TTL {
            return Err(Cause::Ttl);
        }
        let version = match s.version {
            Version::V2 => 2,
            Version::V3 => 3,
        };
        if packet::envelope(&packet.message).ok_or(Cause::Length)?.version != version {
            return Err(Cause::Version);
        }
        let advert = packet::decode(&packet.message, packet.source, packet.destination)?;
        let expected = s.password.map_or(Auth::None, Auth::Simple);
        if matches!(advert.body, Body::V2 { auth, .. } if auth != expected) {
            return Err(Cause::Authentication);
        }
        let own = self.source() == Some(packet.source);
        if let Reach::Unicast { peers, .. } = &s.reach
            && !own
            && !peers.contains(&packet.source)
        {
            return Err(Cause::Source);
        }
        // RFC 3768 §7.1: another interval means that somebody is misconfigured, and both sides' timers would disagree.
        if matches!(advert.body, Body::V2 { seconds, .. } if Some(seconds) != s.advertise.whole_seconds()) {
            return Err(Cause::Interval);
        }
        // RFC 9568 §5.2.5. Where none is configured, an advert moves something else than addresses.
        if s.version == Version::V3 && advert.addresses.is_empty() && !s.addresses.is_empty() {
            return Err(Cause::Addresses);
        }
        if own { Err(Cause::Own) } else { Ok(advert) }
    }

    /// Whether an advert lists our addresses, in whatever order.
    pub(super) fn lists_ours(&self, advert: &Advert) -> bool {
        let (mut ours, mut theirs) = (self.settings.listed(), advert.addresses.clone());
        ours.sort_unstable();
        theirs.sort_unstable();
        ours == theirs
    }
}
