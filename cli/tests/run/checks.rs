//! Checks that the kernel tells of, and the weight of a file.

use super::*;

fn until_priority(machine: &Machine, priority: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = machine.status().1;
        if status["vips"][0]["priority"] == priority {
            return;
        }
        assert!(Instant::now() < deadline, "{status:#}");
    }
}

#[test]
fn the_number_in_a_file_moves_the_priority_as_soon_as_it_is_written() {
    alone(|| {
        let machine = Machine::with_link("");
        let file = machine.directory.path().join("weight");
        let check = format!("check \"maintenance\" {{ file \"{}\"; }}", file.display());
        machine.write(&format!("{}{check}", VIP.replace("vrid 7", "vrid 7; track \"maintenance\"")));
        let mut run = machine.run();
        run.until_state("MASTER");
        until_priority(&machine, 150);
        for (text, weight, priority) in [("-30\n", -30, 120), ("garbage", 0, 150), ("1000", 254, 254)] {
            let written = clock::now();
            fs::write(&file, text).unwrap();
            let event = run.until("its weight", |e| e["event"] == "weight" && e["weight"] == weight);
            println!("{text:?} is heard of after {:?}", at(&event).since(written));
            until_priority(&machine, priority);
        }
        assert!(!run.seen.iter().any(|e| e["from"] == "MASTER"), "no number moves a vip that nobody else wants");
        fs::write(&file, "-254").unwrap();
        let fault = run.until_state("FAULT");
        assert_eq!(fault["why"], "check maintenance says -254");
        let (healthy, status) = machine.status();
        assert!(!healthy && status["checks"][0]["health"]["weight"] == -254, "{status:#}");
        fs::remove_file(&file).unwrap();
        run.until_state("MASTER");
        assert!(machine.status().0);
    });
}

#[test]
fn an_interface_beside_the_vips_own_is_fault_at_once_and_costs_nothing_while_it_stands() {
    alone(|| {
        let check = "check \"uplink\" { interface \"up0\"; }";
        let machine = Machine::with_link(&format!("{}{check}", VIP.replace("vrid 7", "vrid 7; track \"uplink\"")));
        let other = Namespace::new().unwrap();
        let links = Links::here().unwrap();
        let mut run = machine.run();
        run.until_state("FAULT");
        links.veth("up0", "far0", &other).unwrap();
        links.up("up0").unwrap();
        other.links().unwrap().up("far0").unwrap();
        run.until_state("MASTER");
        let cut = clock::now();
        other.links().unwrap().down("far0").unwrap();
        let fault = run.until_state("FAULT");
        println!("heard of after {:?}", at(&fault).since(cut));
        assert_eq!(fault["why"], "check uplink is down");
        let why = machine.status().1["checks"][0]["health"]["detail"].clone();
        assert_eq!(why, "up0 is down or has no carrier");
    });
}

#[test]
fn a_unit_on_a_machine_without_systemd_is_down_and_the_reason_is_told() {
    // On a machine that systemd runs, it is a unit that nobody has.
    let has_systemd = std::path::Path::new("/run/systemd/system").is_dir();
    alone(|| {
        let check = "check \"unit\" { systemd \"hactl-no-such.service\"; every \"200ms\"; }";
        let machine = Machine::with_link(&format!("{}{check}", VIP.replace("vrid 7", "vrid 7; track \"unit\"")));
        let mut run = machine.run();
        let down = run.until_event("check");
        let why = down["why"].as_str().unwrap();
        let word = if has_systemd { "hactl-no-such.service" } else { "systemd does not run this machine" };
        assert!(down["up"] == false && why.starts_with("UNITERR ") && why.contains(word), "{down}");
        run.until_state("FAULT");
    });
}

#[test]
fn a_gateway_that_falls_silent_lowers_the_priority() {
    alone(|| {
        let check = "check \"gateway\" { ping \"10.0.0.1\"; every \"100ms\"; fall 2; rise 1; }";
        let file = format!("{}{check}", VIP.replace("vrid 7", "vrid 7; track \"gateway\" weight=-60"));
        let machine = Machine::with_link(&file);
        let mut run = machine.run();
        run.until_state("MASTER");
        until_priority(&machine, 150);
        fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1").unwrap();
        let down = run.until("it is down", |e| e["event"] == "check" && e["up"] == false);
        assert_eq!(down["why"], "L3TOUT 10.0.0.1 did not answer in time");
        until_priority(&machine, 90);
        fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "0").unwrap();
        until_priority(&machine, 150);
    });
}
