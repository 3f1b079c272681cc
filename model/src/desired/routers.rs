//! The virtual routers of a vip: one for each family of its addresses.

use super::{DesiredRouter, Reach, VirtualMac};
use crate::config::{Config, Peer, Vip};
use crate::units::{Family, InterfaceName, Vrid};

/// A vip's routers on a machine, IPv4 first. A vip without address has one, of the family that its members share.
pub(super) fn routers(config: &Config, vip: &Vip, me: &Peer) -> Vec<DesiredRouter> {
    let interface = &me.interface.as_ref().unwrap_or(&vip.interface).value;
    let has = |family: &Family| vip.addresses.iter().any(|a| a.value.family() == *family);
    let mut families: Vec<Family> = [Family::V4, Family::V6].into_iter().filter(has).collect();
    if families.is_empty() {
        families.push(spoken(config, vip));
    }
    let router = |family| DesiredRouter {
        family,
        addresses: vip.addresses.iter().map(|a| a.value).filter(|a| a.family() == family).collect(),
        reach: reach(config, vip, (me, family)),
        virtual_mac: vip.virtual_mac.then(|| virtual_mac(interface, family, vip.vrid.value)),
        routes: vip.routes.iter().map(|r| r.value.clone()).filter(|r| r.family() == family).collect(),
    };
    families.into_iter().map(router).collect()
}

/// The family of a vip without address: IPv4, unless its members reach each other over IPv6 alone.
fn spoken(config: &Config, vip: &Vip) -> Family {
    let mut members = config.peers.iter().filter(|p| vip.priorities.contains_key(&p.name));
    match vip.unicast && members.any(|p| p.address_of(Family::V4).is_none()) {
        true => Family::V6,
        false => Family::V4,
    }
}

fn reach(config: &Config, vip: &Vip, (me, family): (&Peer, Family)) -> Reach {
    let address = |p: &Peer| p.address_of(family);
    let members = config.peers.iter().filter(|p| p.name != me.name && vip.priorities.contains_key(&p.name));
    match (vip.unicast, address(me)) {
        (true, Some(local)) => Reach::Unicast { local, peers: members.filter_map(address).collect() },
        _ => Reach::Multicast,
    }
}

/// The most bytes of an interface's name (IFNAMSIZ without its zero).
const NAME_LIMIT: usize = 15;

/// `eth0-v4-51`; where that is too long for the kernel, `vrrp4-51-9f3a` with a hash of the interface's name, since one
/// VRID may stand on two interfaces of a machine.
fn virtual_mac(interface: &InterfaceName, family: Family, vrid: Vrid) -> VirtualMac {
    let (digit, group) = match family {
        Family::V4 => (4, 1),
        Family::V6 => (6, 2),
    };
    let plain = format!("{interface}-v{digit}-{vrid}");
    let name = match plain.len() {
        ..=NAME_LIMIT => plain,
        _ => {
            let hash = crate::balance::stable_hash(interface.as_str().as_bytes());
            format!("vrrp{digit}-{vrid}-{:04x}", hash & 0xffff)
        }
    };
    // Both forms are names that the kernel takes; the interface's own stands in where that were ever not so.
    let name = name.parse().unwrap_or_else(|_| interface.clone());
    VirtualMac { name, mac: [0, 0, 0x5e, 0, group, vrid.get()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(interface: &str, family: Family, vrid: u8) -> String {
        virtual_mac(&interface.parse().unwrap(), family, Vrid::try_from(vrid).unwrap()).name.to_string()
    }

    #[test]
    fn a_macvlan_is_named_after_its_interface_where_the_kernel_has_room_for_it() {
        assert_eq!(name("eth0", Family::V4, 51), "eth0-v4-51");
        assert_eq!(name("eth0.100", Family::V6, 255), "eth0.100-v6-255");
    }

    #[test]
    fn two_long_names_give_two_macvlans() {
        let (one, other) = (name("enp129s0f1np1", Family::V4, 51), name("enp129s0f1np2", Family::V4, 51));
        assert!(one.starts_with("vrrp4-51-") && one.len() <= NAME_LIMIT, "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn the_virtual_mac_is_the_rfcs() {
        let mac = |family| virtual_mac(&"eth0".parse().unwrap(), family, Vrid::try_from(51).unwrap()).mac;
        assert_eq!(mac(Family::V4), [0x00, 0x00, 0x5e, 0x00, 0x01, 51]);
        assert_eq!(mac(Family::V6), [0x00, 0x00, 0x5e, 0x00, 0x02, 51]);
    }
}
