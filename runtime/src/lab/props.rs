//! Stand-ins for what is neither a process nor a program: interfaces, units of systemd, files with a number, and
//! machines that do not answer a ping.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use model::vrrp::FAULT_WEIGHT;

use super::rooms::nft;
use super::sandbox::{SCRATCH, cover, place};
use crate::netns::{Links, Namespace};

/// Says of every unit that it is active, unless it was told otherwise.
const SYSTEMCTL: &str = "#!/bin/sh
# A stand-in: systemd does not run this machine.
for unit in \"$@\"; do :; done
if [ -e \"/run/hactl-lab/units/$unit\" ]; then echo failed; exit 3; fi
echo active
";

/// Makes an interface that the machine does not have: one end of a pair, whose other end nobody looks at.
pub fn interface(name: &str) -> Result<(), String> {
    let name = name.to_owned();
    with_links(move |links| {
        if links.index(&name).is_ok() {
            return Ok(());
        }
        let told = |e: crate::netns::NetnsError| e.to_string();
        let far = far_end(&name);
        let here = Namespace::here().map_err(told)?;
        links.veth(&name, &far, &here).map_err(told)?;
        links.up(&far).and_then(|()| links.up(&name)).map_err(told)
    })
}

/// Gives an interface of [`interface`] its carrier, or takes it away.
pub fn plug(name: &str, healthy: bool) -> Result<(), String> {
    let name = name.to_owned();
    with_links(move |links| {
        let far = far_end(&name);
        if links.index(&far).is_err() {
            return Err(format!("{name} is the machine's link to the others: cut it instead"));
        }
        if healthy { links.up(&far) } else { links.down(&far) }.map_err(|e| e.to_string())
    })
}

/// Its name: 15 bytes are all that the kernel gives.
fn far_end(name: &str) -> String {
    let short: String = name.chars().take(12).collect();
    format!("to-{short}")
}

/// Links block, and who asks is in the middle of a runtime.
fn with_links(act: impl FnOnce(&Links) -> Result<(), String> + Send) -> Result<(), String> {
    let worked = std::thread::scope(|scope| {
        scope.spawn(|| Links::here().map_err(|e| e.to_string()).and_then(|links| act(&links))).join()
    });
    worked.unwrap_or_else(|_| Err("the stand-in panicked".into()))
}

/// Makes a unit active or failed, as the stand-in of `systemctl` tells.
pub fn unit(unit: &str, healthy: bool) -> Result<(), String> {
    let told = |e: std::io::Error| e.to_string();
    let units = Path::new(SCRATCH).join("units");
    fs::create_dir_all(&units).and_then(|()| fs::create_dir_all("/run/systemd/system")).map_err(told)?;
    place(&Path::new(SCRATCH).join("bin/systemctl"), SYSTEMCTL, 0o755).map_err(|e| e.to_string())?;
    match (healthy, units.join(unit)) {
        (false, failed) => fs::write(failed, "").map_err(told),
        (true, failed) if failed.exists() => fs::remove_file(failed).map_err(told),
        (true, _) => Ok(()),
    }
}

/// Puts a file with 0 where there is none; one that is there is covered by a copy, which can be written to.
pub fn file(path: &Path) -> Result<(), String> {
    let told = |e: super::sandbox::SandboxError| e.to_string();
    if !path.is_file() {
        return place(path, "0\n", 0o644).map_err(told);
    }
    let name = path.to_string_lossy().replace('/', "-");
    let copy = Path::new(SCRATCH).join(format!("file{name}"));
    fs::copy(path, &copy).map_err(|e| format!("{}: {e}", path.display()))?;
    cover(path, &copy).map_err(told)
}

/// Writes the number that is FAULT, or 0.
pub fn weigh(path: &Path, healthy: bool) -> Result<(), String> {
    let number = if healthy { 0 } else { FAULT_WEIGHT };
    fs::write(path, format!("{number}\n")).map_err(|e| format!("{}: {e}", path.display()))
}

/// Lets echo replies of a machine through, or drops them here.
pub fn answers(target: IpAddr, healthy: bool) -> Result<(), String> {
    let (family, reply) = match target {
        IpAddr::V4(_) => ("ip", "icmp type echo-reply"),
        IpAddr::V6(_) => ("ip6", "icmpv6 type echo-reply"),
    };
    let name: String = target.to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let table = format!("{family} silent_{name}");
    nft(&match healthy {
        true => format!("delete table {table}"),
        false => format!(
            "table {table} {{ chain input {{ type filter hook input priority filter; {family} saddr {target} {reply} drop; }}; }}"
        ),
    })
}
