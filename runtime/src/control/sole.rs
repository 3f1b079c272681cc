//! One `hactl run` per network namespace, whatever its state directory: two would fight over one table and hold the
//! same addresses. A unix socket's abstract name is known exactly there, and the kernel lets go of it with its owner.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, UnixCredentials, bind, connect, getsockopt, listen, socket,
    sockopt::PeerCredentials,
};
use nix::unistd::Uid;
use tokio::net::UnixListener;

use super::BindError;

/// The abstract name.
const NAME: &[u8] = b"hactl-run";

/// How long a run that is just dying may still have the name.
const PATIENCE: Duration = Duration::from_millis(500);

/// Who may ask a run that hangs whose the name is, before the answer is that it is nobody's.
const ASKING: i32 = 64;

/// How soon the name is tried again meanwhile.
const AGAIN: Duration = Duration::from_millis(10);

/// The name, for as long as it lives.
#[derive(Debug)]
pub struct Sole(OwnedFd);

/// Makes this process the one run of its network namespace. `None` where the name is not to be had, and for one that
/// another user took or whose owner is not known: nobody without rights keeps a run from starting.
///
/// # Errors
/// Where another run has it.
pub fn sole() -> Result<Option<Sole>, BindError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match take() {
            Ok(name) => return Ok(Some(name)),
            Err(Errno::EADDRINUSE) => {}
            Err(_) => return Ok(None),
        }
        let owner = owner();
        if owner.is_some_and(|owner| owner.uid() != Uid::effective().as_raw()) {
            return Ok(None);
        }
        if Instant::now() >= until {
            return owner.map_or(Ok(None), |owner| Err(BindError::Elsewhere { pid: owner.pid() }));
        }
        std::thread::sleep(AGAIN);
    }
}

impl Sole {
    /// Hangs up on those who only ask whose the name is.
    ///
    /// # Errors
    /// Where the runtime cannot watch the socket, or it fails; the name is given up then.
    pub async fn hang_up(self) -> std::io::Result<()> {
        let name = UnixListener::from_std(self.0.into())?;
        loop {
            drop(name.accept().await?);
        }
    }
}

fn take() -> Result<Sole, Errno> {
    let name = stream()?;
    bind(name.as_raw_fd(), &UnixAddr::new_abstract(NAME)?)?;
    listen(&name, Backlog::new(ASKING)?)?;
    Ok(Sole(name))
}

fn owner() -> Option<UnixCredentials> {
    let asking = stream().ok()?;
    connect(asking.as_raw_fd(), &UnixAddr::new_abstract(NAME).ok()?).ok()?;
    getsockopt(&asking, PeerCredentials).ok()
}

/// Never waits: a run that hangs accepts nobody.
fn stream() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
}
