use super::*;

const MS: u64 = 1_000_000;
const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 50));

fn event(to: &str) -> Event {
    let json = format!(r#"{{"event":"state","vip":"ui","from":"INIT","to":"{to}","priority":100,"why":"x"}}"#);
    serde_json::from_str(&json).unwrap()
}

fn pair() -> State {
    let machine = |name: &str| MachineState {
        name: name.into(),
        is_peer: true,
        member_of: vec!["ui".into()],
        power: Power::On,
        runs: true,
        ..Default::default()
    };
    let vip = VipView { name: "ui".into(), addresses: vec![VIP], ..Default::default() };
    let mut state = State { machines: vec![machine("a"), machine("b")], vips: vec![vip], ..Default::default() };
    state.hear("a", &event("MASTER"));
    state.hear("b", &event("BACKUP"));
    state
}

/// The client measures every 50 ms up to `until`; probes up to `answered` were answered.
fn pass(state: &mut State, until: u64, answered: u64) {
    let last = answered.min(until);
    state.measure(&Measured { at: until * MS, addresses: BTreeMap::from([(VIP, (50, 50, last * MS))]) });
    state.refresh(until * MS);
}

#[test]
fn a_cluster_is_settled_when_one_holder_answered_for_a_while() {
    let mut state = pair();
    pass(&mut state, 1_000, 1_000);
    assert!(!state.is_settled(1_000 * MS));
    pass(&mut state, 1_300, 1_300);
    assert!(state.is_settled(1_300 * MS));
    state.hear("b", &event("MASTER"));
    pass(&mut state, 1_350, 1_350);
    assert!(!state.is_settled(1_350 * MS), "two hold it");
}

#[test]
fn an_outage_is_judged_when_the_vip_answers_again() {
    let mut state = pair();
    pass(&mut state, 1_000, 1_000);
    state.disturb("kill a".into(), 1_000 * MS);
    state.machine("a").unwrap().power = Power::Off;
    let expect = Expect::Outage("ui".into(), Duration::from_secs(4));
    pass(&mut state, 3_000, 1_000);
    assert!(matches!(state.judge(&expect, 3_000 * MS), Verdict::NotYet(_)));
    state.hear("b", &event("MASTER"));
    state.outage(VIP, 1_000 * MS, 4_400 * MS);
    pass(&mut state, 4_400, 4_400);
    pass(&mut state, 4_800, 4_800);
    assert_eq!(state.judge(&expect, 4_800 * MS), Verdict::Met("3399 ms".into()));
    let strict = Expect::Outage("ui".into(), Duration::from_secs(3));
    assert_eq!(state.judge(&strict, 4_800 * MS), Verdict::Never("3399 ms".into()));
}

#[test]
fn an_outage_that_a_second_disturbance_falls_into_is_the_firsts() {
    let mut state = pair();
    pass(&mut state, 1_000, 1_000);
    state.disturb("freeze a".into(), 1_000 * MS);
    pass(&mut state, 4_200, 990);
    state.disturb("thaw a".into(), 4_240 * MS);
    state.outage(VIP, 990 * MS, 4_280 * MS);
    pass(&mut state, 4_280, 4_280);
    state.close();
    let told: Vec<f64> = state.disturbances.iter().map(|d| d.vips["ui"].0.round()).collect();
    assert_eq!(told, [3289.0, 40.0]);
}

#[test]
fn an_outage_that_ended_before_a_disturbance_but_is_told_after_it_is_not_its_own() {
    let mut state = pair();
    pass(&mut state, 1_000, 1_000);
    state.disturb("freeze a".into(), 1_000 * MS);
    state.disturb("thaw a".into(), 4_240 * MS);
    state.outage(VIP, 1_000 * MS, 4_230 * MS);
    pass(&mut state, 4_250, 4_250);
    state.close();
    let told: Vec<f64> = state.disturbances.iter().map(|d| d.vips["ui"].0.round()).collect();
    assert_eq!(told, [3229.0, 0.0]);
}

#[test]
fn connections_that_went_down_with_their_backend_are_counted_apart() {
    let mut state = pair();
    let to = |backend: &str| Connection { backend: Some(backend.into()), ..Default::default() };
    state.connections = BTreeMap::from([(0, to("a")), (1, to("b")), (2, to("b"))]);
    state.doom("a");
    state.connections.get_mut(&0).unwrap().silent = true;
    state.connections.get_mut(&2).unwrap().broken = Some("reset".into());
    let tally = state.tally();
    assert_eq!((tally.opened, tally.alive, tally.with_backend, tally.lost), (3, 1, 1, 1));
}
