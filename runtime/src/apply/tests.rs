use super::*;
use std::time::Duration;

use model::desired::Reason;
use model::observed::{Address, OUR_MARK, Observed, SysctlBefore, VipFacts, Wanted};
use model::plan::{Action, Impact};

use crate::kernel::fake::Fake;

/// A machine in memory, a state directory, and a plan of one step of each kind.
struct Bench {
    fake: Fake,
    lock: Lock,
    plan: Plan,
    _dir: tempfile::TempDir,
}

/// What was told, in order: `done sysctl a`.
type Story = Vec<String>;

fn step(object: &str, operation: Operation, undo: Operation) -> Step {
    let reasons: Vec<Reason> = vec![];
    Step {
        action: Action::Create,
        object: object.into(),
        what: String::new(),
        operation,
        undo,
        reasons,
        details: vec![],
        impact: Impact::None,
    }
}

fn sysctl(value: &str, record: Option<&str>) -> Operation {
    let record = record.map(|before| SysctlBefore { before: before.into(), ours: value.into() });
    Operation::SetSysctl { key: "a.b".into(), value: value.into(), record }
}

fn steps() -> Vec<Step> {
    let (interface, cidr) = ("eth0".parse().unwrap(), "192.0.2.9/24".parse().unwrap());
    let facts = VipFacts { addresses: vec![cidr], interface, settings: [].into() };
    let table = || "ip hactl".to_owned();
    let interface = || "eth0".parse().unwrap();
    vec![
        step("sysctl a.b", sysctl("1", Some("0")), sysctl("0", None)),
        step(
            "nftables ip hactl",
            Operation::LoadTable { table: table(), text: "table".into(), record: None },
            Operation::DeleteTable { table: table(), record: None },
        ),
        step(
            "address 192.0.2.9/24 on eth0",
            Operation::DeleteAddress { interface: interface(), cidr },
            Operation::AddAddress { interface: interface(), cidr },
        ),
        step("vip.ui", Operation::PutVip { name: "ui".into(), facts }, Operation::DropVip { name: "ui".into() }),
    ]
}

impl Bench {
    fn new() -> Bench {
        let mut holds = Observed::default();
        let link = model::observed::Link { index: 2, up: true, carrier: true, arp: true, mac: None, mtu: 1500 };
        holds.links.insert("eth0".parse().unwrap(), link);
        holds.sysctls.insert("a.b".into(), "0".into());
        holds.addresses.insert(Address {
            interface: "eth0".parse().unwrap(),
            cidr: "192.0.2.9/24".parse().unwrap(),
            mark: OUR_MARK,
            secondary: false,
        });
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path(), "apply", Duration::ZERO).unwrap();
        let plan = Plan { cluster: "c".into(), peer: "p".into(), steps: steps(), notes: vec![], backends: [].into() };
        Bench { fake: Fake::new(holds), lock, plan, _dir: dir }
    }

    /// What is left of the plan on the machine as it is now.
    fn left(fake: &mut Fake, plan: &Plan) -> Plan {
        let seen = fake.observe(&Wanted { sysctls: ["a.b".to_owned()].into() }).unwrap();
        let mut left = plan.clone();
        left.steps.retain(|step| match &step.operation {
            Operation::SetSysctl { key, value, .. } => seen.sysctls.get(key) != Some(value),
            Operation::LoadTable { table, text, .. } => seen.tables.get(table) != Some(text),
            Operation::DeleteAddress { cidr, .. } => seen.addresses.iter().any(|a| a.cidr == *cidr),
            Operation::PutVip { name, .. } => !seen.record.vips.contains_key(name),
            _ => false,
        });
        left
    }

    fn apply(&mut self) -> (Result<(), ApplyError>, Story) {
        let mut story = Story::new();
        let mut tell = |told: Told<'_>| {
            story.push(match told {
                Told::Unfinished(leftover) => format!("unfinished {} of {}", leftover.begun, leftover.steps),
                Told::Done(step) => format!("done {}", step.object),
                Told::Failed(step, _) => format!("failed {}", step.object),
                Told::Undone(step) => format!("undone {}", step.object),
                Told::Stuck(step, _) => format!("stuck {}", step.object),
            });
        };
        let whole = Plan { steps: steps(), ..self.plan.clone() };
        let mut replan = |fake: &mut Fake| Ok(Bench::left(fake, &whole));
        let task = Task { plan: &self.plan, lock: &self.lock, replan: &mut replan, tell: &mut tell };
        (apply(task, &mut self.fake), story)
    }
}

#[test]
fn every_step_is_performed_once_and_in_order_and_the_journal_is_closed() {
    let mut bench = Bench::new();
    let (result, story) = bench.apply();
    assert_eq!(result, Ok(()));
    assert_eq!(
        story,
        ["done sysctl a.b", "done nftables ip hactl", "done address 192.0.2.9/24 on eth0", "done vip.ui"]
    );
    assert_eq!(bench.fake.performed, bench.plan.steps.iter().map(|s| s.operation.clone()).collect::<Vec<_>>());
    assert_eq!(leftover(bench.lock.state()), None);
    assert!(!bench.lock.state().join("journal.reserve").exists());
}

#[test]
fn whichever_step_fails_the_machine_is_as_before() {
    for number in 0..steps().len() {
        let mut bench = Bench::new();
        let before = bench.fake.holds.clone();
        bench.fake.refuse = vec![number];
        let (result, story) = bench.apply();
        let error = result.unwrap_err();
        assert!(error.is_rolled_back(), "{error}");
        assert!(matches!(error, ApplyError::Step { ref object, .. } if *object == steps()[number].object));
        assert_eq!(bench.fake.holds, before, "step {number}");
        assert_eq!(story.iter().filter(|line| line.starts_with("undone")).count(), number);
        assert_eq!(leftover(bench.lock.state()), None, "nothing is left to do");
    }
}

#[test]
fn whichever_step_is_accepted_and_not_done_the_machine_is_as_before() {
    for number in 0..steps().len() {
        let mut bench = Bench::new();
        let before = bench.fake.holds.clone();
        bench.fake.ignore = vec![number];
        let error = bench.apply().0.unwrap_err();
        assert!(error.is_rolled_back(), "{error}");
        assert!(
            matches!(error, ApplyError::Verification { ref left, .. } if left == &[steps()[number].object.clone()])
        );
        assert_eq!(bench.fake.holds, before, "step {number}");
    }
}

#[test]
fn a_step_that_cannot_be_taken_back_is_named_and_the_others_are() {
    let mut bench = Bench::new();
    // Step 3 fails; then 2, 1, 0 are undone as the performances 4, 5, 6: that of the table is refused.
    bench.fake.refuse = vec![3, 5];
    let (result, story) = bench.apply();
    let error = result.unwrap_err();
    assert!(!error.is_rolled_back());
    assert!(matches!(error, ApplyError::Step { ref stuck, .. } if stuck == &["nftables ip hactl"]), "{error:?}");
    let end = ["failed vip.ui", "undone address 192.0.2.9/24 on eth0", "stuck nftables ip hactl", "undone sysctl a.b"];
    assert_eq!(story[3..], end);
    assert!(leftover(bench.lock.state()).unwrap().undoing, "the journal stays open");
}

#[test]
fn killed_at_any_step_the_next_apply_says_so_and_converges() {
    for number in 0..steps().len() {
        for done in [false, true] {
            let mut bench = Bench::new();
            let mut journal = Journal::begin(bench.lock.state(), &bench.plan).unwrap();
            for (n, step) in steps().iter().enumerate().take(number + 1) {
                journal.doing(n, std::slice::from_ref(step)).unwrap();
                if n < number || done {
                    bench.fake.perform(&step.operation).unwrap();
                }
            }
            drop(journal);
            bench.plan = Bench::left(&mut bench.fake, &bench.plan);
            let (result, story) = bench.apply();
            assert_eq!(result, Ok(()));
            assert_eq!(story[0], format!("unfinished {} of 4", number + 1));
            assert!(Bench::left(&mut bench.fake, &Bench::new().plan).steps.is_empty());
            assert_eq!(leftover(bench.lock.state()), None);
        }
    }
}

#[test]
fn a_journal_cut_short_is_still_understood() {
    let bench = Bench::new();
    let mut journal = Journal::begin(bench.lock.state(), &bench.plan).unwrap();
    journal.doing(0, &steps()[..1]).unwrap();
    let path = bench.lock.state().join("journal");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{{\"doing\":{{\"numb")).unwrap();
    let found = leftover(bench.lock.state()).unwrap();
    assert_eq!((found.begun, found.steps, found.last.as_deref()), (1, 4, Some("sysctl a.b")));
}

#[test]
fn nothing_is_changed_where_the_journal_cannot_be_written() {
    let mut bench = Bench::new();
    std::fs::create_dir(bench.lock.state().join("journal")).unwrap();
    let (result, _) = bench.apply();
    assert!(matches!(result, Err(ApplyError::NotBegun(KernelError::State { .. }))), "{result:?}");
    assert!(bench.fake.performed.is_empty());
}
