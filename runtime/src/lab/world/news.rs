//! News of daemons, of their answers, and of connections.

use super::super::fact::Fact;
use super::{Until, World};

impl World<'_> {
    pub(super) fn daemon(&mut self, name: &str, ended: Option<(String, bool)>) {
        let runs = ended.is_none();
        let (how, unasked) = ended.unwrap_or_default();
        let Some(machine) = self.state.machine(name) else { return };
        (machine.runs, machine.pending) = (runs, false);
        machine.vips.clear();
        let log: Vec<String> = machine.log.iter().cloned().collect();
        self.tell(Fact::Daemon { peer: name.to_owned(), runs, how, unasked });
        if unasked {
            // Whatever the story goes on to find, a service that ends by itself is no good.
            self.failed = true;
            self.tell(Fact::Lines { lines: last(&log, name) });
        }
    }

    pub(super) fn answered(&mut self, name: &str, lines: &[String], good: bool) {
        self.tell(Fact::Lines { lines: lines.iter().map(|line| format!("{name}: {line}")).collect() });
        self.failed |= self.strict && !good;
        if let Some(Until::Answered(_)) = self.until {
            self.until = None;
        }
    }

    pub(super) fn broken(&mut self, id: usize, why: String) {
        let connection = self.state.connections.entry(id).or_default();
        connection.broken = Some(why.clone());
        // Only the backend itself can close: it is not the failover that lost it.
        connection.doomed |= why == "closed by the backend";
        let connection = connection.clone();
        let with_backend = self.state.is_doomed(&connection);
        if let Some(connection) = self.state.connections.get_mut(&id) {
            connection.doomed = with_backend;
        }
        self.tell(Fact::Broken { id, backend: connection.backend, why, with_backend });
    }
}

/// The end of a machine's log: what a person looks at first when something was not as expected.
pub(super) fn last(log: &[String], name: &str) -> Vec<String> {
    const LINES: usize = 8;
    log.iter().skip(log.len().saturating_sub(LINES)).map(|line| format!("{name}: {line}")).collect()
}
