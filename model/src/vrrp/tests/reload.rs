use super::*;

fn reload(bench: &mut Bench, settings: Vec<Settings>) -> Vec<String> {
    kinds(&bench.give(Input::Reload(settings)))
}

#[test]
fn unchanged_settings_touch_nothing() {
    let mut bench = Bench::master(settings());
    let before = (bench.status(), bench.router.deadline());
    assert!(bench.give(Input::Reload(vec![settings()])).is_empty());
    assert_eq!((bench.status(), bench.router.deadline()), before);
}

#[test]
fn priority_preempt_interval_and_tracks_change_in_place() {
    let mut bench = Bench::master(settings());
    let new = Settings {
        priority: Priority::try_from(50).unwrap(),
        preempt: Preempt::Never,
        advertise: Centiseconds::try_from(10).unwrap(),
        track: vec![("new".into(), None)],
        ..settings()
    };
    assert!(reload(&mut bench, vec![new]).is_empty());
    assert_eq!(bench.state(), VipState::Master);
    assert_eq!(kinds(&bench.wait(100)), ["advert 50"]);
}

#[test]
fn a_shorter_interval_after_a_long_silence_is_no_oversleeping() {
    let mut bench = Bench::up(Settings { advertise: Centiseconds::try_from(4000).unwrap(), ..settings() });
    bench.run_until(ms(145_000));
    bench.wait(30_000);
    reload(&mut bench, vec![Settings { advertise: Centiseconds::try_from(1).unwrap(), ..settings() }]);
    bench.wait(1_000);
    assert_eq!(bench.status().became_master, 1);
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn of_changed_addresses_only_the_difference_is_touched() {
    let with = |list: &[&str]| Settings { addresses: list.iter().map(|a| cidr(a)).collect(), ..settings() };
    let mut bench = Bench::master(with(&["192.0.2.50/24", "192.0.2.51/24"]));
    let effects = reload(&mut bench, vec![with(&["192.0.2.51/24", "192.0.2.52/24"])]);
    assert_eq!(effects, ["release 192.0.2.50/24", "hold 192.0.2.52/24"]);
    assert_eq!(bench.state(), VipState::Master);
}

#[test]
fn an_address_that_moves_between_vips_is_let_go_of_before_it_is_taken() {
    let second = |addresses: &[&str]| Settings {
        name: "b".into(),
        vrid: Vrid::try_from(52).unwrap(),
        addresses: addresses.iter().map(|a| cidr(a)).collect(),
        ..settings()
    };
    let first = |addresses: &[&str]| Settings { name: "a".into(), vrid: settings().vrid, ..second(addresses) };
    let mut bench = Bench::new(vec![first(&["192.0.2.50/24"]), second(&["192.0.2.60/24", "192.0.2.70/24"])]);
    bench.link_up();
    bench.run_until(ms(4_000));
    let new = vec![first(&["192.0.2.50/24", "192.0.2.70/24"]), second(&["192.0.2.60/24"])];
    assert_eq!(reload(&mut bench, new), ["release 192.0.2.70/24", "hold 192.0.2.70/24"]);
}

#[test]
fn another_vrid_version_or_interface_leaves_and_enters_anew_with_what_is_known() {
    let mut bench = Bench::master(settings());
    let new = Settings { vrid: Vrid::try_from(52).unwrap(), ..settings() };
    assert_eq!(reload(&mut bench, vec![new.clone()]), ["advert 0", "release 192.0.2.50/24"]);
    assert_eq!(bench.state(), VipState::Backup);
    bench.wait(4_000);
    assert_eq!(bench.state(), VipState::Master);
    assert_eq!(
        reload(&mut bench, vec![Settings { version: Version::V2, ..new }]),
        ["advert 0", "release 192.0.2.50/24"]
    );
}

#[test]
fn a_removed_vip_is_handed_over_and_forgotten() {
    let mut bench = Bench::master(settings());
    assert_eq!(reload(&mut bench, vec![]), ["advert 0", "release 192.0.2.50/24"]);
    assert!(bench.router.status().is_empty());
    assert_eq!(bench.router.deadline(), None);
}

#[test]
fn a_check_result_is_kept_for_vips_that_track_it_later() {
    let mut bench = Bench::up(settings());
    bench.give(Input::Check { name: "proxies".into(), up: false });
    reload(&mut bench, vec![Settings { track: vec![("proxies".into(), None)], ..settings() }]);
    assert_eq!(bench.state(), VipState::Fault);
}

#[test]
fn of_two_vips_with_one_vrid_the_first_counts() {
    let twin = Settings { name: "twin".into(), ..settings() };
    assert_eq!(Router::new(vec![settings(), twin, settings()]).status().len(), 1);
}
