//! Operations of one kind that follow each other are performed as one: the record is written, and the addresses are
//! looked at, once for all of them.

use model::plan::Operation;

use super::KernelError;

/// Why a sequence of operations was not performed to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Stopped {
    /// How many are in force; nothing is of those that follow.
    pub done: usize,
    /// Why the next one is not.
    pub error: KernelError,
}

impl Stopped {
    /// Before the first.
    pub(super) fn before(error: KernelError) -> Stopped {
        Stopped { done: 0, error }
    }
}

/// What operations have in common that are performed as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Neither record nor machine.
    Nothing,
    /// The record says more afterwards: it is written before the machine changes.
    Put,
    /// The record says less afterwards: it is written after the machine has changed.
    Forget,
    /// One table; each is a transaction of its own.
    Table,
    /// Addresses come.
    Add,
    /// Addresses go.
    Delete,
}

pub(super) fn kind(operation: &Operation) -> Kind {
    match operation {
        Operation::Nothing => Kind::Nothing,
        Operation::SetSysctl { record: Some(_), .. }
        | Operation::RecordSysctl { record: Some(_), .. }
        | Operation::PutVip { .. } => Kind::Put,
        Operation::SetSysctl { record: None, .. }
        | Operation::RecordSysctl { record: None, .. }
        | Operation::DropVip { .. } => Kind::Forget,
        Operation::LoadTable { .. } | Operation::DeleteTable { .. } => Kind::Table,
        Operation::AddAddress { .. } => Kind::Add,
        Operation::DeleteAddress { .. } => Kind::Delete,
    }
}

/// Parts a sequence where its kind changes: what [`super::Kernel::perform_all`] performs as one.
pub fn runs<'a, T>(items: &'a [T], operation: impl Fn(&T) -> &Operation + 'a) -> impl Iterator<Item = &'a [T]> {
    items.chunk_by(move |one, next| {
        let kind = kind(operation(one));
        kind != Kind::Table && kind == self::kind(operation(next))
    })
}
