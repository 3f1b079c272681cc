//! From the file to everything that a run needs, or every reason why not. Nothing is changed here.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::config::{Config, Diagnostic, Place, Source};
use model::desired::{self, Desired, DesiredVip};
use model::units::{Cidr, InterfaceName};
use model::vrrp::Settings;

use crate::check::{self, Subject, Watch};
use crate::driver::DriverSettings;
use crate::secrets::{self, SecretError};
use crate::sources::{self, LoadError};

/// A run's whole setting.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// The file, absolute; `-` for standard input.
    pub path: PathBuf,
    /// What this machine should be.
    pub desired: Arc<Desired>,
    /// For the VRRP thread, passwords included.
    pub driver: DriverSettings,
    /// Checks and probes.
    pub watches: Vec<Watch>,
    /// What the file says and does not do, each with its place.
    pub warnings: Vec<String>,
}

impl Setup {
    /// Where the VRRP thread may hold what.
    pub fn addresses(&self) -> BTreeSet<(InterfaceName, Cidr)> {
        let each = |v: &DesiredVip| v.addresses.iter().map(|a| (v.interface.clone(), *a)).collect::<Vec<_>>();
        self.desired.vips.iter().flat_map(each).collect()
    }
}

/// Why a file cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// It cannot be read or has mistakes.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Which peer this machine is cannot be told.
    #[error("{what}")]
    Node {
        /// Why, with the peers that there are.
        what: String,
    },
    /// A password is not to be had, or the protocol cannot carry it.
    #[error("vip.{vip} at {at}: {source}")]
    Secret {
        /// The vip's name.
        vip: String,
        /// Where it stands.
        at: Place,
        /// Why; never the value.
        source: SecretError,
    },
}

impl SetupError {
    /// Every mistake on a line of its own, with its place.
    pub fn lines(&self) -> Vec<String> {
        match self {
            SetupError::Load(LoadError::Invalid { sources, diagnostics }) => {
                diagnostics.iter().map(|d| line(sources, d)).collect()
            }
            other => vec![other.to_string()],
        }
    }

    /// What to do about it, each a line.
    pub fn help(&self) -> Vec<String> {
        match self {
            SetupError::Load(_) => vec![],
            SetupError::Node { .. } => vec!["say which with --node NAME".into()],
            SetupError::Secret { source, .. } => vec![source.help()],
        }
    }
}

/// Reads the file and resolves all that it refers to.
///
/// # Errors
/// See [`SetupError`].
pub(super) fn setup(file: Option<&Path>, node: Option<&str>) -> Result<Setup, SetupError> {
    let loaded = sources::load(file)?;
    let peer = identify(&loaded.config, node)?;
    let desired = desired::desire(&loaded.config, &peer)
        .ok_or_else(|| SetupError::Node { what: format!("{peer} is no peer of this file") })?;
    let routers = desired.vips.iter().map(routers).collect::<Result<Vec<_>, _>>()?.concat();
    let gated = desired.services.iter().flat_map(|s| s.addresses.iter().copied()).collect();
    let checks = desired.checks.iter().map(|c| Watch {
        subject: Subject::Check(c.name.clone()),
        attempt: check::of_check(c),
        pace: c.pace,
    });
    Ok(Setup {
        path: match loaded.path.to_str() {
            Some("-") => loaded.path,
            _ => std::path::absolute(&loaded.path).unwrap_or(loaded.path),
        },
        watches: checks.chain(desired.services.iter().flat_map(check::of_service)).collect(),
        driver: DriverSettings { routers, gated },
        warnings: loaded.warnings.iter().map(|d| line(&loaded.sources, d)).collect(),
        desired: Arc::new(desired),
    })
}

fn identify(config: &Config, node: Option<&str>) -> Result<String, SetupError> {
    if let Some(name) = node {
        let known: Vec<&str> = config.peers.iter().map(|p| p.name.as_str()).collect();
        return match known.contains(&name) {
            true => Ok(name.to_owned()),
            false => Err(SetupError::Node {
                what: format!("there is no peer \"{name}\" in this file; its peers are {}", known.join(", ")),
            }),
        };
    }
    let hostname = nix::unistd::gethostname().unwrap_or_default();
    let addresses: Vec<IpAddr> =
        nix::ifaddrs::getifaddrs().map(|all| all.filter_map(|a| ip(a.address.as_ref()?)).collect()).unwrap_or_default();
    desired::identify(config, &hostname.to_string_lossy(), &addresses)
        .map(|peer| peer.name.clone())
        .map_err(|e| SetupError::Node { what: e.to_string() })
}

fn ip(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
}

fn routers(vip: &DesiredVip) -> Result<Vec<Settings>, SetupError> {
    let refused = |source| SetupError::Secret { vip: vip.name.clone(), at: vip.at.clone(), source };
    let password = vip.auth_pass.as_ref().map(secrets::password).transpose().map_err(refused)?;
    Ok(Settings::of(vip, password))
}

/// `ha.kdl:12: an address must be quoted [HA0102]`.
fn line(sources: &[Source], diagnostic: &Diagnostic) -> String {
    let place = diagnostic.labels.first().and_then(|(span, _)| {
        let source = sources.get(span.source)?;
        let before = source.text.as_bytes().get(..span.offset)?;
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        Some(format!("{}:{line}: ", source.name))
    });
    format!("{}{} [{}]", place.unwrap_or_default(), diagnostic.title, diagnostic.code)
}
