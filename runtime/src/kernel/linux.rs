//! The machine itself. Everything is read and changed in the network namespace of the calling thread.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use model::desired::Fingerprint;
use model::observed::{Address, Link, Live, OBSERVED_VERSION, OUR_MARK, Observed, Record, SysctlBefore, Wanted};
use model::plan::{Operation, Plan, Step};
use model::units::{Cidr, InterfaceName};

use super::{Kernel, KernelError, netlink, nftables, others, record, sysctl};
use crate::control;

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

    fn set_sysctl(&self, key: &str, value: &str, becomes: Option<&SysctlBefore>) -> Result<(), KernelError> {
        let before = record::load(&self.state)?;
        let mut after = before.clone();
        match becomes {
            Some(facts) => drop(after.sysctls.insert(key.to_owned(), facts.clone())),
            None => drop(after.sysctls.remove(key)),
        }
        // The record stands whenever the value might: it is the first to be written and the last to go.
        match becomes {
            Some(_) => {
                self.put_record(&before, &after)?;
                sysctl::write(key, value).inspect_err(|_| drop(self.put_record(&after, &before)))
            }
            None => {
                let was = sysctl::read(key)?;
                sysctl::write(key, value)?;
                self.put_record(&before, &after).inspect_err(|_| {
                    if let Some(was) = was {
                        drop(sysctl::write(key, &was));
                    }
                })
            }
        }
    }

    fn record_sysctl(&self, key: &str, becomes: Option<&SysctlBefore>) -> Result<(), KernelError> {
        self.change_record(|record| match becomes {
            Some(facts) => drop(record.sysctls.insert(key.to_owned(), facts.clone())),
            None => drop(record.sysctls.remove(key)),
        })
    }

    fn load_table(&self, table: &str, text: &str, becomes: Option<Fingerprint>) -> Result<(), KernelError> {
        let before = record::load(&self.state)?;
        let mut after = before.clone();
        after.put_table(table, becomes);
        self.put_record(&before, &after)?;
        nftables::load(table, text).inspect_err(|_| drop(self.put_record(&after, &before)))
    }

    fn put_record(&self, before: &Record, after: &Record) -> Result<(), KernelError> {
        if before == after { Ok(()) } else { record::save(&self.state, after) }
    }

    fn change_record(&self, change: impl FnOnce(&mut Record)) -> Result<(), KernelError> {
        let before = record::load(&self.state)?;
        let mut after = before.clone();
        change(&mut after);
        self.put_record(&before, &after)
    }
}

impl Kernel for Linux {
    fn observe(&mut self, wanted: &Wanted) -> Result<Observed, KernelError> {
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
            tables: nftables::list()?,
            record: record::load(&self.state)?,
            service: self.service()?,
            others: others::holders(),
        })
    }

    fn perform(&mut self, operation: &Operation) -> Result<(), KernelError> {
        match operation {
            Operation::Nothing => Ok(()),
            Operation::SetSysctl { key, value, record } => self.set_sysctl(key, value, record.as_ref()),
            Operation::RecordSysctl { key, record } => self.record_sysctl(key, record.as_ref()),
            Operation::LoadTable { table, text, record } => self.load_table(table, text, *record),
            Operation::DeleteTable { table, record } => {
                nftables::delete(table)?;
                self.change_record(|all| all.put_table(table, *record))
            }
            Operation::AddAddress { interface, cidr } => add_address(interface, *cidr),
            Operation::DeleteAddress { interface, cidr } => delete_address(interface, *cidr),
            Operation::PutVip { name, facts } => {
                self.change_record(|record| drop(record.vips.insert(name.clone(), facts.clone())))
            }
            Operation::DropVip { name } => self.change_record(|record| drop(record.vips.remove(name))),
        }
    }
}

/// The addresses of one interface with its number; `None` where there is no such interface.
fn addresses_of(interface: &InterfaceName) -> Result<Option<(u32, Vec<Address>)>, KernelError> {
    let links = netlink::links()?;
    let Some(Link { index, .. }) = links.get(interface) else { return Ok(None) };
    let mut addresses = netlink::addresses(&links)?;
    addresses.retain(|address| address.interface == *interface);
    Ok(Some((*index, addresses)))
}

fn add_address(interface: &InterfaceName, cidr: Cidr) -> Result<(), KernelError> {
    let what = format!("address {cidr} on {interface}");
    let no_interface = || KernelError::NoInterface { name: interface.to_string() };
    let (index, there) = addresses_of(interface)?.ok_or_else(no_interface)?;
    match there.iter().find(|address| address.cidr == cidr) {
        Some(address) if address.mark == OUR_MARK => return Ok(()),
        Some(_) => return Err(KernelError::Foreign { what }),
        None => {}
    }
    match netlink::add_address(index, cidr) {
        // Somebody else was faster by a moment.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(KernelError::Foreign { what }),
        Err(e) => Err(netlink::failed(&format!("adding {what}"), &e)),
        Ok(()) => Ok(()),
    }
}

fn delete_address(interface: &InterfaceName, cidr: Cidr) -> Result<(), KernelError> {
    // With its interface, an address is gone too.
    let Some((index, there)) = addresses_of(interface)? else { return Ok(()) };
    let Some(ours) = there.iter().find(|a| a.cidr == cidr && a.mark == OUR_MARK) else { return Ok(()) };
    let what = format!("deleting address {cidr} on {interface}");
    let fall: Vec<&Address> = match falls_with_primary(ours, interface)? {
        true => there.iter().filter(|a| a.secondary && same_network(a.cidr, cidr)).collect(),
        false => vec![],
    };
    if let Some(foreign) = fall.iter().find(|a| a.mark != OUR_MARK) {
        let why = format!(
            "{} would go with it; set sysctl net.ipv4.conf.{}.promote_secondaries to 1 first",
            foreign.cidr,
            interface.as_str().replace('.', "/")
        );
        return Err(KernelError::Refused { what, why });
    }
    match netlink::delete_address(index, cidr) {
        Err(e) if e.kind() != ErrorKind::AddrNotAvailable => return Err(netlink::failed(&what, &e)),
        _ => {}
    }
    fall.iter().try_for_each(|address| add_address(interface, address.cidr))
}

/// Whether the kernel takes the secondary addresses of a primary one with it.
fn falls_with_primary(address: &Address, interface: &InterfaceName) -> Result<bool, KernelError> {
    if address.secondary || !address.cidr.address().is_ipv4() {
        return Ok(false);
    }
    for scope in ["all", &interface.as_str().replace('.', "/")] {
        if sysctl::read(&format!("net.ipv4.conf.{scope}.promote_secondaries"))?.as_deref() == Some("1") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_network(a: Cidr, b: Cidr) -> bool {
    let network = |c: Cidr| c.v4().map(|ip| u64::from(u32::from(ip)) >> (32 - u32::from(c.prefix())));
    a.prefix() == b.prefix() && network(a) == network(b)
}
