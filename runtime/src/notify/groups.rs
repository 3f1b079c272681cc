//! When a group has changed its state: once all its members have.

use std::collections::BTreeMap;

use model::desired::DesiredGroup;
use model::vrrp::VipState;

/// The state of members and groups, as last told.
#[derive(Debug, Default)]
pub struct Groups {
    vips: BTreeMap<String, VipState>,
    groups: BTreeMap<String, VipState>,
}

impl Groups {
    /// Takes the change of a vip, from and to, and returns the group's where this was the last of its members. A group
    /// that nothing was told of yet was as this vip was: the process may go on where another one left off.
    pub fn turn(
        &mut self,
        vip: &str,
        (from, to): (VipState, VipState),
        groups: &[DesiredGroup],
    ) -> Option<(String, VipState, VipState)> {
        self.vips.insert(vip.to_owned(), to);
        let group = groups.iter().find(|g| g.vips.iter().any(|v| v == vip))?;
        let all = group.vips.iter().all(|v| self.vips.get(v) == Some(&to));
        let from = self.groups.get(&group.name).copied().unwrap_or(from);
        if !all || from == to {
            return None;
        }
        self.groups.insert(group.name.clone(), to);
        Some((group.name.clone(), from, to))
    }

    /// Forgets what the file no longer names.
    pub fn keep(&mut self, groups: &[DesiredGroup]) {
        self.vips.retain(|vip, _| groups.iter().any(|g| g.vips.contains(vip)));
        self.groups.retain(|name, _| groups.iter().any(|g| g.name == *name));
    }
}

#[cfg(test)]
mod tests {
    use model::config::Place;

    use super::*;

    #[test]
    fn a_group_turns_when_its_last_member_has() {
        use VipState::{Backup, Fault, Init, Master};
        let group = |name: &str, vips: &[&str]| DesiredGroup {
            name: name.into(),
            at: Place::default(),
            vips: vips.iter().map(|v| (*v).to_owned()).collect(),
            notify: None,
        };
        let all = [group("gateway", &["in", "out"]), group("other", &["a", "b"])];
        let mut groups = Groups::default();
        let mut states = BTreeMap::new();
        let mut turn = |vip: &'static str, to| {
            let from = states.insert(vip, to).unwrap_or(Init);
            groups.turn(vip, (from, to), &all)
        };
        let told = |from, to| Some(("gateway".to_owned(), from, to));
        assert_eq!([turn("in", Backup), turn("a", Backup)], [None, None]);
        assert_eq!(turn("out", Backup), told(Init, Backup));
        assert_eq!([turn("out", Master), turn("alone", Master)], [None, None]);
        assert_eq!(turn("in", Master), told(Backup, Master));
        assert_eq!([turn("in", Fault), turn("out", Fault)], [None, told(Master, Fault)]);
        let mut resumed = Groups::default();
        assert_eq!(resumed.turn("in", (Master, Backup), &all), None);
        assert_eq!(resumed.turn("out", (Master, Backup), &all), told(Master, Backup));
        groups.keep(&all[1..]);
        assert_eq!(groups.vips.len(), 1);
    }
}
