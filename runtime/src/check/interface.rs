//! Whether an interface is up, as the kernel tells of it: nothing is asked twice.

use std::os::fd::OwnedFd;

use model::units::InterfaceName;
use model::vrrp::LinkState;
use tokio::io::unix::AsyncFd;

use super::Outcome;
use super::standing::{Standing, readable};
use crate::watch::{Seen, Watch};

/// Events that are read in one go; then other tasks have their turn.
const EVENTS: usize = 256;

/// The subscription to links.
pub(super) struct Link {
    name: InterfaceName,
    watch: Watch,
    readable: AsyncFd<OwnedFd>,
    /// The kernel's complaint: the subscription has to be opened anew.
    broken: Option<String>,
}

impl Link {
    fn open(name: &InterfaceName) -> std::io::Result<Link> {
        let watch = Watch::open()?;
        let readable = readable(&watch)?;
        Ok(Link { name: name.clone(), watch, readable, broken: None })
    }

    /// Returns when the interface appeared, changed or vanished.
    pub async fn changed(&mut self) {
        loop {
            for _ in 0..EVENTS {
                match self.watch.step() {
                    Ok(Some(Seen::Link(name))) if name == self.name => return,
                    Ok(Some(_)) => {}
                    Ok(None) => {
                        let Ok(mut guard) = self.readable.readable().await else {
                            return std::future::pending().await;
                        };
                        guard.clear_ready();
                    }
                    Err(e) => {
                        self.broken = Some(e.to_string());
                        return;
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Looks at the interface as the last event left it; subscribes first where that has not been done.
pub(super) fn look(name: &InterfaceName, standing: &mut Standing) -> Outcome {
    let usable = matches!(standing, Standing::Link(link) if link.broken.is_none() && link.name == *name);
    if !usable {
        match Link::open(name) {
            Ok(link) => *standing = Standing::Link(link),
            Err(e) => {
                *standing = Standing::Nothing;
                return Outcome::bad("LINKERR", format!("the kernel cannot be listened to: {e}"));
            }
        }
    }
    let Standing::Link(link) = standing else { return Outcome::bad("LINKERR", "nothing is listened to") };
    match link.watch.machine().state(name) {
        LinkState::Up { .. } => Outcome::good("LINKOK", ""),
        LinkState::Down => Outcome::bad("LINKDOWN", format!("{name} is down or has no carrier")),
        LinkState::Absent => Outcome::bad("LINKDOWN", format!("there is no interface {name}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::netns::{Links, Namespace, isolate};

    async fn until(name: &InterfaceName, standing: &mut Standing, ok: bool) {
        let turned = async {
            while look(name, standing).ok != ok {
                standing.shaken().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), turned).await.unwrap();
    }

    /// In a thread of its own: [`Links`] blocks.
    fn act(act: impl FnOnce(&Links) + Send) {
        std::thread::scope(|scope| scope.spawn(|| act(&Links::here().unwrap())).join().unwrap());
    }

    #[test]
    fn an_interface_is_heard_of_when_it_comes_goes_down_and_vanishes() {
        std::thread::spawn(|| {
            isolate().unwrap();
            let other = Namespace::new().unwrap();
            let far = other.links().unwrap();
            let name: InterfaceName = "eth1".parse().unwrap();
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let mut standing = Standing::Nothing;
                let outcome = look(&name, &mut standing);
                assert_eq!(outcome, Outcome::bad("LINKDOWN", "there is no interface eth1"));
                act(|links| links.veth("eth1", "far", &other).unwrap());
                act(|links| links.up("eth1").unwrap());
                std::thread::scope(|scope| scope.spawn(|| far.up("far").unwrap()).join().unwrap());
                until(&name, &mut standing, true).await;
                act(|links| links.down("eth1").unwrap());
                until(&name, &mut standing, false).await;
                act(|links| links.up("eth1").unwrap());
                until(&name, &mut standing, true).await;
                act(|links| links.delete("eth1").unwrap());
                until(&name, &mut standing, false).await;
                // What is told of its end again.
                while tokio::time::timeout(Duration::from_millis(20), standing.shaken()).await.is_ok() {
                    look(&name, &mut standing);
                }
                act(|links| links.bridge("other").unwrap());
                let quiet = tokio::time::timeout(Duration::from_millis(20), standing.shaken()).await;
                assert!(quiet.is_err(), "another interface is none of ours");
            });
        })
        .join()
        .unwrap();
    }
}
