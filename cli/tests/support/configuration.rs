//! One setup in the language of each program.

use std::fmt::Write as _;

use super::cluster::{NAMES, Setup, priority, vrid};
use super::segment::{address, address6};

/// hactl's file, the same for all of its machines.
pub fn hactl(setup: Setup, machines: usize) -> String {
    let mut text = "cluster \"pair\"\n".to_owned();
    for (machine, name) in NAMES.iter().take(machines).enumerate() {
        writeln!(text, "peer \"{name}\" address=\"{}\"", address(machine)).unwrap();
    }
    let priorities: Vec<_> = NAMES.iter().take(machines).enumerate().collect();
    let priorities: String = priorities.iter().map(|(n, name)| format!(" {name}={}", priority(*n))).collect();
    for router in 0..setup.routers {
        writeln!(text, "vip \"v{router}\" {{").unwrap();
        for address in setup.addresses(router) {
            writeln!(text, "    address \"{address}/32\"").unwrap();
        }
        for address in setup.addresses6(router) {
            writeln!(text, "    address \"{address}/128\"").unwrap();
        }
        writeln!(text, "    interface \"eth0\"\n    vrid {}\n    priority{priorities}", vrid(router)).unwrap();
        writeln!(text, "    version {}\n    advertise \"{}ms\"", setup.version, setup.advert).unwrap();
        if setup.password {
            text.push_str("    auth-pass \"pass1234\"\n");
        }
        text.push_str(if setup.unicast { "    unicast\n}\n" } else { "}\n" });
    }
    if setup.group {
        let members: String = (0..setup.routers).map(|router| format!("    vip \"v{router}\"\n")).collect();
        writeln!(text, "group \"together\" {{\n{members}}}").unwrap();
    }
    text
}

/// keepalived's file of one machine. Its instances are of one family.
pub fn keepalived(setup: Setup, machine: usize, machines: usize) -> String {
    let mut text = format!("global_defs {{\n    router_id machine{machine}\n}}\n");
    let mut instances = Vec::new();
    for router in 0..setup.routers {
        let v4: Vec<_> = setup.addresses(router).map(|address| format!("{address}/32")).collect();
        let v6: Vec<_> = setup.addresses6(router).map(|address| format!("{address}/128")).collect();
        for (name, addresses) in [(format!("v{router}"), v4), (format!("v{router}six"), v6)] {
            if !addresses.is_empty() {
                instance(&mut text, (setup, machine, machines), (&name, vrid(router), &addresses));
                instances.push(name);
            }
        }
    }
    if setup.group || (setup.v4 && setup.v6) {
        writeln!(
            text,
            "vrrp_sync_group together {{\n    group {{\n        {}\n    }}\n}}",
            instances.join("\n        ")
        )
        .unwrap();
    }
    text
}

type Instance<'a> = (&'a str, u8, &'a [String]);

fn instance(text: &mut String, (setup, machine, machines): (Setup, usize, usize), (name, vrid, all): Instance) {
    let v6 = all[0].contains(':');
    writeln!(text, "vrrp_instance {name} {{\n    state BACKUP\n    interface eth0").unwrap();
    writeln!(text, "    virtual_router_id {vrid}\n    priority {}", priority(machine)).unwrap();
    writeln!(text, "    version {}\n    advert_int {}", setup.version, f64::from(setup.advert) / 1000.0).unwrap();
    if setup.password {
        text.push_str("    authentication {\n        auth_type PASS\n        auth_pass pass1234\n    }\n");
    }
    if setup.virtual_mac {
        writeln!(text, "    use_vmac v{}m{vrid}", if v6 { 6 } else { 4 }).unwrap();
    }
    if setup.unicast {
        let own = |n| if v6 { address6(n).to_string() } else { address(n).to_string() };
        let others: String = (0..machines).filter(|n| *n != machine).map(|n| format!("        {}\n", own(n))).collect();
        writeln!(text, "    unicast_src_ip {}\n    unicast_peer {{\n{others}    }}", own(machine)).unwrap();
    }
    let addresses: String = all.iter().map(|address| format!("        {address}\n")).collect();
    writeln!(text, "    virtual_ipaddress {{\n{addresses}    }}\n}}").unwrap();
}

/// vrrpd's file of one machine.
pub fn frr(setup: Setup, priority: u8) -> String {
    let mut text = "debug vrrp protocol\ninterface eth0\n".to_owned();
    for router in 0..setup.routers {
        let vrid = vrid(router);
        writeln!(text, " vrrp {vrid} version {}\n vrrp {vrid} priority {priority}", setup.version).unwrap();
        writeln!(text, " vrrp {vrid} advertisement-interval {}", setup.advert).unwrap();
        for address in setup.addresses(router) {
            writeln!(text, " vrrp {vrid} ip {address}").unwrap();
        }
        for address in setup.addresses6(router) {
            writeln!(text, " vrrp {vrid} ipv6 {address}").unwrap();
        }
    }
    text
}
