//! Any sequence of inputs: no panic, bounded effects, deadlines ahead.

use proptest::prelude::*;

use super::*;

/// Effects of one input for one vip: a goodbye to each of two peers, release, hold, an event each, and some room.
const MOST: usize = 24;

fn any_settings() -> impl Strategy<Value = Vec<Settings>> {
    let one = (1u8..4, any::<bool>(), any::<bool>(), 1u8.., 0usize..3, 0u8..3, 0usize..4);
    prop::collection::vec(one, 0..3).prop_map(|all| {
        let build =
            |(vrid, v2, unicast, priority, addresses, preempt, tracks): (u8, bool, bool, u8, usize, u8, usize)| {
                let checks = [("a", None), ("b", Some(-60)), ("a", Some(20))];
                Settings {
                    name: format!("vip{vrid}"),
                    vrid: Vrid::try_from(vrid).unwrap(),
                    version: if v2 { Version::V2 } else { Version::V3 },
                    reach: match unicast {
                        true => Reach::Unicast { local: OURS, peers: vec![PEER, LOWER] },
                        false => Reach::Multicast,
                    },
                    priority: Priority::try_from(priority).unwrap(),
                    addresses: (0..addresses).map(|n| cidr(&format!("192.0.2.{}/24", 50 + n))).collect(),
                    preempt: [Preempt::Never, Preempt::Immediately, Preempt::After(Duration::from_secs(1))]
                        [preempt as usize],
                    track: checks[..tracks.min(3)].iter().map(|(n, w)| ((*n).into(), *w)).collect(),
                    ..settings()
                }
            };
        all.into_iter().map(build).collect()
    })
}

fn any_input() -> impl Strategy<Value = Input> {
    let link = prop_oneof![
        Just(LinkState::Down),
        Just(LinkState::Absent),
        Just(LinkState::Up { primary: None, link_local: None }),
        Just(up()),
    ];
    let heard = (1u8..5, any::<u8>(), any::<bool>(), 0usize..4).prop_map(|(vrid, priority, v2, who)| {
        let version = if v2 { Version::V2 } else { Version::V3 };
        let sender = Settings { vrid: Vrid::try_from(vrid).unwrap(), version, ..settings() };
        Input::Packet(advert_of(&sender, [PEER, LOWER, OURS, Ipv4Addr::BROADCAST.into()][who], priority))
    });
    let noise = prop::collection::vec(any::<u8>(), 0..40).prop_map(|message| {
        let (source, destination) = (PEER, packet::GROUP.into());
        Input::Packet(Received { interface: eth0(), source, destination, ttl: 255, message })
    });
    let done = (1u8..4, any::<bool>()).prop_map(|(vip, ok)| Input::Done {
        vip: format!("vip{vip}"),
        family: Family::V4,
        result: if ok { Ok(()) } else { Err("no".into()) },
    });
    prop_oneof![
        8 => Just(Input::Tick),
        3 => link.prop_map(|state| Input::Link { interface: eth0(), state }),
        3 => (any::<bool>(), any::<bool>())
            .prop_map(|(a, up)| Input::Check { name: if a { "a" } else { "b" }.into(), up }),
        2 => (any::<bool>(), -300i16..300)
            .prop_map(|(a, weight)| Input::Weight { name: if a { "a" } else { "b" }.into(), weight }),
        6 => heard,
        1 => noise,
        4 => done,
        1 => (50u8..53).prop_map(|n| Input::AddressLost { interface: eth0(), cidr: cidr(&format!("192.0.2.{n}/24")) }),
        1 => prop::collection::btree_set(50u8..53, 0..3).prop_map(|set| {
            let addresses = set.into_iter().map(|n| cidr(&format!("192.0.2.{n}/24"))).collect();
            Input::Foreign { interface: eth0(), addresses }
        }),
        1 => any_settings().prop_map(Input::Reload),
        2 => (50u8..53).prop_map(|n| Input::Announced { interface: eth0(), address: [192, 0, 2, n].into() }),
        1 => prop::collection::btree_set((1u8..4).prop_map(|n| format!("vip{n}")), 0..3).prop_map(Input::Drain),
        1 => (1u8..4).prop_map(|n| Input::StepDown { vip: format!("vip{n}") }),
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_inputs_panics_spins_or_asks_for_too_much(
        first in any_settings(),
        steps in prop::collection::vec((any_input(), 0u64..8_000_000_000), 0..120),
    ) {
        let mut router = Router::new(first);
        let mut now = Moment(0);
        for (input, later) in steps {
            now = now + Duration::from_nanos(later);
            let vips = router.status().len() + if let Input::Reload(new) = &input { new.len() } else { 0 };
            let effects = router.handle(now, input);
            prop_assert!(effects.len() <= MOST * vips.max(1), "{} effects", effects.len());
            router.handle(now, Input::Tick);
            prop_assert!(router.deadline().is_none_or(|at| at > now));
        }
        router.handle(now, Input::Stop);
        let mut turns = 0;
        while let Some(at) = router.deadline().filter(|_| !router.is_over()) {
            now = now.max(at);
            let effects = router.handle(now, Input::Tick);
            let parts = |e: &Effect| matches!(e, Effect::Release { .. } | Effect::Advert { .. });
            prop_assert!(effects.iter().all(parts), "{effects:?}");
            turns += 1;
            prop_assert!(turns < 100, "it does not end");
        }
        prop_assert!(router.is_over());
    }
}
