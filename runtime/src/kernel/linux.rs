//! The machine itself. Everything is read and changed in the network namespace of the calling thread.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use model::observed::{Live, OBSERVED_VERSION, Observed, Record, Wanted};
use model::plan::{Operation, Plan, Step};
use model::units::{Cidr, InterfaceName};

use super::run::{self, Kind, Stopped, runs};
use super::{Kernel, KernelError, addresses, netlink, nftables, others, record, sysctl};
use crate::control;

/// Keys that come and go with interfaces.
const OF_INTERFACES: [&str; 2] = ["net.ipv4.conf.", "net.ipv6.conf."];

/// How often our tables are looked at while backends keep turning: one that turns every few milliseconds is not waited
/// for.
const LOOKS: usize = 5;

/// The Linux kernel of this machine, and a directory for what it does not remember.
#[derive(Debug, Clone)]
pub struct Linux {
    state: PathBuf,
    asks: bool,
}

impl Linux {
    /// With the directory of the record and the control socket; nothing is opened or made.
    pub fn new(state: &Path) -> Linux {
        Linux { state: state.to_owned(), asks: true }
    }

    /// As `hactl run` itself sees it, which knows what it holds without asking.
    pub fn of_service(state: &Path) -> Linux {
        Linux { asks: false, ..Linux::new(state) }
    }

    /// Whether this process may change the network of the namespace it is in.
    ///
    /// # Errors
    /// Where it lacks CAP_NET_ADMIN.
    pub fn permitted() -> Result<(), KernelError> {
        match caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN) {
            Ok(true) => Ok(()),
            _ => Err(KernelError::NotPermitted { what: "changing this machine's network".into() }),
        }
    }

    /// Whether this process could perform such a plan, judged before anything is changed.
    ///
    /// # Errors
    /// Where rights, a program, or room in the state directory are missing.
    pub fn ready(&self, plan: &Plan) -> Result<(), KernelError> {
        Linux::permitted()?;
        let tables = |s: &Step| matches!(s.operation, Operation::LoadTable { .. } | Operation::DeleteTable { .. });
        if plan.steps.iter().any(tables) {
            nftables::installed()?;
        }
        record::writable(&self.state)
    }

    fn service(&self) -> Result<Option<Live>, KernelError> {
        if !self.asks {
            return Ok(None);
        }
        control::live(&self.state).map_err(|e| KernelError::Unasked { what: e.to_string(), help: e.help() })
    }

    /// The record stands whenever a value might: it is written first.
    fn put(&self, run: &[&Operation]) -> Result<(), Stopped> {
        let before = record::load(&self.state).map_err(Stopped::before)?;
        let mut after = before.clone();
        run.iter().for_each(|operation| note(&mut after, operation));
        self.put_record(&before, &after).map_err(Stopped::before)?;
        for (done, operation) in run.iter().enumerate() {
            let Operation::SetSysctl { key, value, .. } = operation else { continue };
            if let Err(error) = sysctl::write(key, value) {
                let mut stands = before;
                run.iter().take(done).for_each(|operation| note(&mut stands, operation));
                let _ = self.put_record(&after, &stands);
                return Err(Stopped { done, error });
            }
        }
        Ok(())
    }

    /// The record stands whenever a value might: it goes last.
    fn forget(&self, run: &[&Operation]) -> Result<(), Stopped> {
        let before = record::load(&self.state).map_err(Stopped::before)?;
        let (mut after, mut was, mut result) = (before.clone(), vec![], Ok(()));
        for (done, operation) in run.iter().enumerate() {
            match restore(operation) {
                Ok(value) => was.extend(value),
                Err(error) => {
                    result = Err(Stopped { done, error });
                    break;
                }
            }
            note(&mut after, operation);
        }
        if let Err(error) = self.put_record(&before, &after) {
            was.iter().rev().for_each(|(key, value)| drop(sysctl::write(key, value)));
            return Err(Stopped::before(error));
        }
        result
    }

    fn change_table(&self, operation: &Operation) -> Result<(), KernelError> {
        let before = record::load(&self.state)?;
        let mut after = before.clone();
        note(&mut after, operation);
        match operation {
            Operation::LoadTable { table, text, .. } => {
                self.put_record(&before, &after)?;
                nftables::load(table, text).inspect_err(|_| drop(self.put_record(&after, &before)))
            }
            Operation::DeleteTable { table, .. } => {
                nftables::delete(table)?;
                self.put_record(&before, &after)
            }
            _ => Ok(()),
        }
    }

    fn perform_run(&self, run: &[&Operation]) -> Result<(), Stopped> {
        match run.first().map(|first| run::kind(first)) {
            None | Some(Kind::Nothing) => Ok(()),
            Some(Kind::Put) => self.put(run),
            Some(Kind::Forget) => self.forget(run),
            Some(Kind::Table) => {
                run.iter().try_for_each(|operation| self.change_table(operation)).map_err(Stopped::before)
            }
            Some(Kind::Add) => addresses::add(&places(run)),
            Some(Kind::Delete) => addresses::delete(&places(run)),
        }
    }

    fn put_record(&self, before: &Record, after: &Record) -> Result<(), KernelError> {
        if before == after { Ok(()) } else { record::save(&self.state, after) }
    }
}

impl Kernel for Linux {
    fn observe(&mut self, wanted: &Wanted) -> Result<Observed, KernelError> {
        let (service, tables) = beside_the_service(|| self.service(), nftables::list)?;
        let links = netlink::links()?;
        let mut sysctls = BTreeMap::new();
        for key in &wanted.sysctls {
            if let Some(value) = sysctl::read(key)? {
                sysctls.insert(key.clone(), value);
            }
        }
        Ok(Observed {
            version: OBSERVED_VERSION,
            hostname: nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned(),
            boot_id: record::boot_id()?,
            addresses: netlink::addresses(&links)?.into_iter().collect(),
            links,
            sysctls,
            tables,
            record: record::load(&self.state)?,
            service,
            others: others::holders(),
        })
    }

    fn perform_all(&mut self, operations: &[&Operation]) -> Result<(), Stopped> {
        let mut before = 0;
        for run in runs(operations, |operation| operation) {
            self.perform_run(run).map_err(|s| Stopped { done: before + s.done, ..s })?;
            before += run.len();
        }
        Ok(())
    }
}

/// Our tables as they were while the service said one thing: a backend that turns between the two looks would be taken
/// for somebody else's change.
fn beside_the_service<T>(
    mut ask: impl FnMut() -> Result<Option<Live>, KernelError>,
    mut look: impl FnMut() -> Result<T, KernelError>,
) -> Result<(Option<Live>, T), KernelError> {
    let mut before = ask()?;
    for _ in 1..LOOKS {
        let tables = look()?;
        let after = ask()?;
        let same = before.as_ref().map(|live| &live.down) == after.as_ref().map(|live| &live.down);
        before = after;
        if same {
            return Ok((before, tables));
        }
    }
    Ok((before, look()?))
}

/// What the record says once an operation is in force.
fn note(record: &mut Record, operation: &Operation) {
    match operation {
        Operation::SetSysctl { key, record: becomes, .. } | Operation::RecordSysctl { key, record: becomes } => {
            match becomes {
                Some(facts) => drop(record.sysctls.insert(key.clone(), facts.clone())),
                None => drop(record.sysctls.remove(key)),
            }
        }
        Operation::LoadTable { table, record: becomes, .. } | Operation::DeleteTable { table, record: becomes } => {
            record.put_table(table, *becomes);
        }
        Operation::PutVip { name, facts } => drop(record.vips.insert(name.clone(), facts.clone())),
        Operation::DropVip { name } => drop(record.vips.remove(name)),
        Operation::Nothing | Operation::AddAddress { .. } | Operation::DeleteAddress { .. } => {}
    }
}

/// Writes back the value of a sysctl that the record no longer names, and returns the one that was there.
fn restore(operation: &Operation) -> Result<Option<(&str, String)>, KernelError> {
    let Operation::SetSysctl { key, value, .. } = operation else { return Ok(None) };
    let was = sysctl::read(key)?;
    // With its interface, a sysctl is gone too.
    if let (None, true) = (&was, OF_INTERFACES.iter().any(|start| key.starts_with(start))) {
        return Ok(None);
    }
    sysctl::write(key, value)?;
    Ok(was.map(|was| (key.as_str(), was)))
}

fn places<'a>(run: &[&'a Operation]) -> Vec<(&'a InterfaceName, Cidr)> {
    let place = |operation: &&'a Operation| match operation {
        Operation::AddAddress { interface, cidr } | Operation::DeleteAddress { interface, cidr } => {
            Some((interface, *cidr))
        }
        _ => None,
    };
    run.iter().filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(down: &[&str]) -> Result<Option<Live>, KernelError> {
        let down = down.iter().map(|a| a.parse().unwrap()).collect();
        Ok(Some(Live { down: [("web".to_owned(), down)].into(), ..Live::default() }))
    }

    #[test]
    fn tables_are_looked_at_again_where_a_backend_turned_meanwhile() {
        let mut answers = [live(&[]), live(&["192.0.2.1:80"]), live(&["192.0.2.1:80"])].into_iter();
        let mut tables = 1..;
        let (service, tables) = beside_the_service(|| answers.next().unwrap(), || Ok(tables.next().unwrap())).unwrap();
        assert_eq!((service, tables), (live(&["192.0.2.1:80"]).unwrap(), 2));
    }

    #[test]
    fn backends_that_never_rest_are_not_waited_for() {
        let mut turns = 0;
        let mut ask = || {
            turns += 1;
            live(if turns % 2 == 0 { &["192.0.2.1:80"] } else { &[] })
        };
        let mut looks = 0;
        let look = || {
            looks += 1;
            Ok(())
        };
        beside_the_service(&mut ask, look).unwrap();
        assert_eq!(looks, LOOKS);
    }
}
