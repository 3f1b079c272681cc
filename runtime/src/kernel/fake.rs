//! A machine in memory that fails where it is told to: what plan, apply and the daemon are tested against.

use model::observed::{Address, OUR_MARK, Observed, Wanted};
use model::plan::Operation;
use model::units::InterfaceName;

use super::{Kernel, KernelError, Stopped};

/// A machine in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fake {
    /// What it holds; `sysctls` holds every key that the kernel knows.
    pub holds: Observed,
    /// Every operation that was performed, the failed ones too.
    pub performed: Vec<Operation>,
    /// Refuse the operations of these numbers, counted from 0 as in `performed`.
    pub refuse: Vec<usize>,
    /// Accept the operations of these numbers and do nothing: a machine that lies.
    pub ignore: Vec<usize>,
}

impl Fake {
    /// A machine that holds this.
    pub fn new(holds: Observed) -> Fake {
        Fake { holds, ..Fake::default() }
    }

    fn change(&mut self, operation: &Operation) -> Result<(), KernelError> {
        let holds = &mut self.holds;
        match operation.clone() {
            Operation::Nothing => {}
            Operation::SetSysctl { key, value, record } => {
                let why = || "this kernel has no such key".into();
                let there = holds.sysctls.get_mut(&key);
                *there.ok_or_else(|| KernelError::Refused { what: format!("setting sysctl {key}"), why: why() })? =
                    value;
                match record {
                    Some(facts) => drop(holds.record.sysctls.insert(key, facts)),
                    None => drop(holds.record.sysctls.remove(&key)),
                }
            }
            Operation::RecordSysctl { key, record: Some(facts) } => drop(holds.record.sysctls.insert(key, facts)),
            Operation::RecordSysctl { key, record: None } => drop(holds.record.sysctls.remove(&key)),
            Operation::LoadTable { table, text, record } => {
                holds.record.put_table(&table, record);
                holds.tables.insert(table, text);
            }
            Operation::DeleteTable { table, record } => {
                holds.record.put_table(&table, record);
                holds.tables.remove(&table);
            }
            Operation::AddAddress { interface, cidr } => {
                if !holds.links.contains_key(&interface) {
                    return Err(KernelError::NoInterface { name: interface.to_string() });
                }
                match self.address(&interface, cidr) {
                    Some(there) if there.mark == OUR_MARK => {}
                    Some(_) => {
                        return Err(KernelError::Foreign { what: format!("address {cidr} on {interface}") });
                    }
                    None => {
                        let new = Address { interface, cidr, mark: OUR_MARK, secondary: false };
                        self.holds.addresses.insert(new);
                    }
                }
            }
            Operation::DeleteAddress { interface, cidr } => {
                holds.addresses.retain(|a| a.interface != interface || a.cidr != cidr || a.mark != OUR_MARK);
            }
            Operation::PutVip { name, facts } => drop(holds.record.vips.insert(name, facts)),
            Operation::DropVip { name } => drop(holds.record.vips.remove(&name)),
        }
        Ok(())
    }

    fn address(&self, interface: &InterfaceName, cidr: model::units::Cidr) -> Option<&Address> {
        self.holds.addresses.iter().find(|a| a.interface == *interface && a.cidr == cidr)
    }
}

impl Kernel for Fake {
    fn observe(&mut self, wanted: &Wanted) -> Result<Observed, KernelError> {
        let mut seen = self.holds.clone();
        seen.sysctls.retain(|key, _| wanted.sysctls.contains(key));
        Ok(seen)
    }

    fn perform_all(&mut self, operations: &[&Operation]) -> Result<(), Stopped> {
        let mut all = operations.iter().enumerate();
        all.try_for_each(|(done, operation)| self.one(operation).map_err(|error| Stopped { done, error }))
    }
}

impl Fake {
    fn one(&mut self, operation: &Operation) -> Result<(), KernelError> {
        let number = self.performed.len();
        self.performed.push(operation.clone());
        match () {
            () if self.refuse.contains(&number) => {
                Err(KernelError::Refused { what: "performing".into(), why: "the fake was told to refuse".into() })
            }
            () if self.ignore.contains(&number) => Ok(()),
            () => self.change(operation),
        }
    }
}
