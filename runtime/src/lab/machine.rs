//! A machine: the first process of its namespaces does what the world orders and reports what it sees.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::TlsAcceptor;

use super::client::{self, Connections, Tell};
use super::daemon::Daemon;
use super::protocol::{Listener, Order, Report, Role};
use super::sandbox;
use super::standin::StandIns;
use super::stub::{self, Stub};

/// Orders that may wait while one is carried out; then the world waits.
const WAITING: usize = 64;

/// Waits beside a machine, as its parent outside of it: leaves the world's namespaces, starts the machine's first
/// process and ends with it.
///
/// # Errors
/// In words.
pub fn case(name: &str) -> Result<(), String> {
    let told = |e: sandbox::SandboxError| e.to_string();
    sandbox::die_with_parent().map_err(told)?;
    sandbox::hear_signals().map_err(told)?;
    sandbox::leave().map_err(told)?;
    let mut machine = std::process::Command::new(sandbox::own_program())
        .args(["lab-inside", "machine", name])
        .spawn()
        .map_err(|e| format!("starting machine {name}: {e}"))?;
    machine.wait().map(|_| ()).map_err(|e| e.to_string())
}

/// Is a machine, until the world closes its end or kills it.
///
/// # Errors
/// In words.
pub fn machine(name: &str) -> Result<(), String> {
    sandbox::settle(name).map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(obey())
}

async fn obey() -> Result<(), String> {
    let output = Mutex::new(std::io::stdout());
    let tell: Tell = Arc::new(move |report: &Report| {
        let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
        // A world that no longer listens is about to end this machine.
        let _ = serde_json::to_string(report).map(|line| writeln!(output, "{line}").and_then(|()| output.flush()));
    });
    let trouble = Arc::clone(&tell);
    let trouble = move |what: String| trouble(&Report::Trouble { what });
    tell(&Report::Room);
    let mut orders = orders();
    let mut machine = None;
    while let Some(line) = orders.recv().await {
        let order: Order = serde_json::from_str(&line).map_err(|e| e.to_string())?;
        match (order, &mut machine) {
            (Order::Be(role), none) => {
                *none = Some(Machine::new(*role, Arc::clone(&tell)).await?);
                tell(&Report::Ready);
            }
            (order, Some(machine)) => machine.obey(order).await.unwrap_or_else(&trouble),
            (_, None) => return Err("ordered about before it was told what it is".into()),
        }
    }
    Ok(())
}

/// Orders as they come in; ends when the world closes its end.
fn orders() -> tokio::sync::mpsc::Receiver<String> {
    let (sender, receiver) = tokio::sync::mpsc::channel(WAITING);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// What this machine became.
struct Machine {
    tls: TlsAcceptor,
    stubs: Vec<(Listener, Option<Stub>)>,
    peer: Option<(Daemon, StandIns)>,
    connections: Option<Connections>,
}

impl Machine {
    async fn new(role: Role, tell: Tell) -> Result<Machine, String> {
        let mut machine = Machine { tls: stub::acceptor()?, stubs: vec![], peer: None, connections: None };
        match role {
            Role::Host { serve } => machine.serve(serve, &tell).await,
            Role::Client { sources, probe } => {
                machine.connections = Some(Connections::new(sources, Arc::clone(&tell)));
                client::probe(&probe, tell)?;
            }
            Role::Peer { serve, daemon: (file, name), checks, secrets } => {
                machine.serve(serve, &tell).await;
                sandbox::unite_users().map_err(|e| e.to_string())?;
                let (stand_ins, troubles) = StandIns::new(checks);
                let (daemon, more) = Daemon::new(file, name, &secrets, Arc::clone(&tell));
                troubles.into_iter().chain(more).for_each(|what| tell(&Report::Trouble { what }));
                machine.peer = Some((daemon, stand_ins));
            }
        }
        Ok(machine)
    }

    async fn serve(&mut self, listeners: Vec<Listener>, tell: &Tell) {
        for listener in listeners {
            let stub = stub::serve(&listener, self.tls.clone()).await;
            let stub = stub.map_err(|what| tell(&Report::Trouble { what })).ok();
            self.stubs.push((listener, stub));
        }
    }

    async fn obey(&mut self, order: Order) -> Result<(), String> {
        match order {
            Order::Be(_) => Err("told twice what it is".into()),
            Order::Start => self.daemon()?.start(),
            Order::Stop => self.daemon()?.stop(),
            Order::Reload => self.daemon()?.reload(),
            Order::Verb { words } => self.daemon()?.ask(&words),
            Order::Fail { check } => self.set(&check, false).await,
            Order::Recover { check } => self.set(&check, true).await,
            Order::Connect { count, first, targets } => {
                let connections = self.connections.as_ref().ok_or("only the client opens connections")?;
                connections.open(count, first, &targets);
                Ok(())
            }
        }
    }

    fn daemon(&mut self) -> Result<&mut Daemon, String> {
        self.peer.as_mut().map(|(daemon, _)| daemon).ok_or_else(|| "runs no hactl".into())
    }

    async fn set(&mut self, check: &str, healthy: bool) -> Result<(), String> {
        let (_, stand_ins) = self.peer.as_mut().ok_or("has no checks")?;
        match stand_ins.set(check, healthy)? {
            Some(target) => self.listen(target, healthy).await,
            None => Ok(()),
        }
    }

    /// Opens or closes the stub server that a check looks at.
    async fn listen(&mut self, target: SocketAddr, open: bool) -> Result<(), String> {
        let here = self.stubs.iter_mut().find(|(listener, _)| listener.at == target);
        let (listener, stub) =
            here.ok_or_else(|| format!("{target} is another machine: kill or cut that one instead"))?;
        match (open, stub.is_some()) {
            (true, false) => *stub = Some(stub::serve(listener, self.tls.clone()).await?),
            (false, _) => *stub = None,
            (true, true) => {}
        }
        Ok(())
    }
}
