//! Commands as an administrator types them: what they print, what they say, and what they make happen.

mod support;
mod world;

use ecusson_toolstack::command::Follow;
use ecusson_toolstack::life::{Action, DomId, EndReason, Event, HostPower};
use world::Console;

#[test]
fn a_domain_is_made_listed_and_shut_down() {
    let mut console = Console::new();
    console.file("web01.cfg", "name = 'web01'\nmemory = 128\nvcpus = 2\n");
    let outcome = console.types("create web01.cfg");
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str(), outcome.code),
        ("", "Parsing config from web01.cfg\n", 0)
    );
    console.happens(Event::Built(DomId(1)));
    assert_eq!(
        console.prints("list"),
        "Name                                        ID   Mem VCPUs\tState\tTime(s)\n\
         Domain-0                                     0    16     2     r-----       1.5\n\
         web01                                        1   128     2     r-----       2.5\n"
    );
    assert_eq!(console.prints("domid web01"), "1\n");
    assert_eq!(console.prints("domname 1"), "web01\n");
    let outcome = console.types("shutdown -w web01");
    assert_eq!(outcome.stderr, "Shutting down domain 1\nWaiting for 1 domains\n");
    assert_eq!(outcome.follow, Follow::Wait(vec![DomId(1)]));
    assert!(console.actions().contains(&Action::PowerButton { domain: DomId(1) }));
    // The configuration was kept under its name.
    console.happens(Event::Ended(DomId(1), EndReason::PowerOff));
    console.happens(Event::Gone(DomId(1)));
    console.files.borrow_mut().remove("web01.cfg");
    assert_eq!(
        console.types("create -p -c web01").follow,
        Follow::Console {
            domain: DomId(2),
            escape: 0x1d
        }
    );
    assert_eq!(console.letters("web01"), "--p---");
}

#[test]
fn verbs_may_be_shortened_as_far_as_they_are_clear() {
    let mut console = Console::new();
    assert!(console.prints("li").starts_with("Name"));
    assert!(console.prints("xm list").starts_with("Name"));
    assert!(console.prints("xl -v list").starts_with("Name"));
    for unclear in ["d", "re", "frobnicate", "un x y z w"] {
        let outcome = console.types(unclear);
        if unclear.starts_with("un") {
            assert_eq!(outcome.stderr, "x is an invalid domain identifier (rc=-6)\n");
        } else {
            assert_eq!(
                (outcome.stderr.as_str(), outcome.code),
                ("command not implemented\n", 1),
                "{unclear}"
            );
        }
    }
}

#[test]
fn the_dispatcher_speaks_like_xl() {
    let mut console = Console::new();
    let mut said = |line: &str| {
        let outcome = console.types(line);
        (outcome.stdout, outcome.stderr, outcome.code)
    };
    assert_eq!(
        said("-x list"),
        (String::new(), "unknown global option\n".to_string(), 1)
    );
    let dry = "command does not implement -N (dryrun) option\n";
    assert_eq!(said("-N list"), (String::new(), dry.to_string(), 1));
    assert_eq!(
        said("list -q"),
        (String::new(), "option `q' not supported.\n".to_string(), 2)
    );
    assert_eq!(
        said("list --quux"),
        (String::new(), "option `quux' not supported.\n".to_string(), 2)
    );
    let (stdout, stderr, code) = said("rename web01");
    assert_eq!(
        (stderr.as_str(), code),
        ("'xl rename' requires at least 2 arguments.\n\n", 2)
    );
    assert_eq!(
        stdout,
        "Usage: xl [-vtTf] rename <Domain> <NewDomainName>\n\nRename a domain.\n\n"
    );
    assert_eq!(said("pause").1, "'xl pause' requires at least 1 argument.\n\n");
    let (stdout, _, code) = said("");
    assert_eq!(code, 1);
    assert!(stdout.starts_with(
        "Usage xl [-vfNtT] <subcommand> [args]\n\nxl full list of subcommands:\n\n create              Create a domain"
    ));
    assert_eq!(said("help").2, 0);
    assert_eq!(said("help nosuch").0, "command \"nosuch\" not implemented\n");
    let help = said("help create").0;
    assert!(help.starts_with("Usage: xl [-vtTfN] create <ConfigFile> [options] [vars]\n\nCreate a domain from config file <filename>.\n\nOptions:\n\n"));
    assert_eq!(said("create --help").0, help);
    assert_eq!(said("list 'a").1, "a quote ' has no end\n");
}

#[test]
fn create_says_what_is_wrong() {
    let mut console = Console::new();
    console.file("bad.cfg", "name = 'a'\nmemory 5\n");
    console.file("big.cfg", "name = 'big'\nmemory = 4096\n");
    console.file("a.cfg", "name = 'a'\n");
    let outcome = console.types("create none.cfg");
    assert_eq!(
        (outcome.stderr.as_str(), outcome.code),
        ("Failed to read config file: none.cfg: No such file or directory\n", 3)
    );
    let outcome = console.types("create bad.cfg");
    assert_eq!(
        (outcome.stderr.as_str(), outcome.code),
        (
            "Parsing config from bad.cfg\n\
             bad.cfg:2: config parsing error near `5': syntax error\n\
             hint: bad.cfg:2:8: put = or += between the name and its value\n\
             Failed to parse config: Invalid argument\n",
            1
        )
    );
    let outcome = console.types("create -q big.cfg");
    assert_eq!(outcome.code, 5);
    assert!(
        outcome
            .stderr
            .starts_with("failed to free memory for the domain\nhint: it needs 4106 MiB"),
        "{}",
        outcome.stderr
    );
    assert_eq!(console.types("create a.cfg 'memory=64' 'vcpus = 2'").code, 0);
    let outcome = console.types("create -q a.cfg");
    assert_eq!(
        (outcome.stderr.as_str(), outcome.code),
        ("libxl: error: Domain with name \"a\" already exists.\n", 6)
    );
    assert!(
        console
            .prints("list a")
            .ends_with(" 1    64     2     --p---       2.5\n")
    );
    assert!(
        console
            .prints("-N create -q big.cfg")
            .starts_with("{\n    \"c_info\": {\n        \"type\": \"pv\",\n        \"name\": \"big\"\n")
    );
    assert_eq!(console.types("create").code, 2);
}

#[test]
fn domains_are_named_or_numbered() {
    let mut console = Console::new();
    console.alive("a");
    assert_eq!(console.complains("list 99"), "Error: Domain '99' does not exist.\n");
    assert_eq!(
        console.complains("pause none"),
        "none is an invalid domain identifier (rc=-6)\n"
    );
    assert_eq!(
        console.complains("block-list none"),
        "none is an invalid domain identifier\n"
    );
    assert_eq!(
        console.complains("domid none"),
        "Can't get domid of domain name 'none', maybe this domain does not exist.\n"
    );
    assert_eq!(
        console.complains("domname 9"),
        "Can't get domain name of domain id '9', maybe this domain does not exist.\n"
    );
    assert_eq!(console.complains("domname x"), "Invalid domain id.\n");
    assert_eq!(console.types("list a b").code, 1);
    assert_eq!(
        console.complains("rename a 12"),
        "Error: Invalid domain name \"12\".\nhint: a name of digits alone would be taken for a domain id: add a letter\n"
    );
    console.prints("rename 1 b");
    assert_eq!(console.prints("domname 1"), "b\n");
}

#[test]
fn pausing_and_destroying_are_silent() {
    let mut console = Console::new();
    console.alive("a");
    assert_eq!(console.prints("pause a"), "");
    assert_eq!(console.letters("a"), "--p---");
    assert_eq!(console.prints("unpause 1"), "");
    assert_eq!(
        console.complains("destroy 0"),
        "Not destroying domain 0; use -f to force.\n\
         This can only be done when using a disaggregated hardware domain and toolstack.\n"
    );
    assert_eq!(console.prints("destroy a"), "");
    assert!(console.actions().contains(&Action::Destroy { domain: DomId(1) }));
    assert_eq!(console.complains("shutdown"), "You must specify -a or a domain id.\n");
    console.alive("b");
    console.alive("c");
    let outcome = console.types("reboot -a");
    assert_eq!(
        (outcome.stderr.as_str(), outcome.code),
        ("Rebooting domain 2\nRebooting domain 3\n", 0)
    );
}

#[test]
fn a_domain_that_waits_for_its_next_life_can_be_cancelled() {
    let mut console = Console::new();
    console.alive("a");
    console.happens(Event::Ended(DomId(1), EndReason::Reboot));
    console.happens(Event::Gone(DomId(1)));
    assert_eq!(
        console.complains("pause a"),
        "a is an invalid domain identifier (rc=-6)\nhint: a waits to be made anew: `destroy a' cancels that\n"
    );
    assert_eq!(console.prints("destroy a"), "");
    assert_eq!(
        console.complains("destroy a"),
        "a is an invalid domain identifier (rc=-6)\n"
    );
}

#[test]
fn processors_are_pinned_and_weighed() {
    let mut console = Console::new();
    console.alive("a");
    console.actions();
    assert_eq!(console.prints("vcpu-pin a 0 1"), "");
    assert!(matches!(&console.actions()[..], [Action::Schedule { vcpus, .. }] if vcpus[0].core == 1));
    assert!(
        console
            .prints("vcpu-list a")
            .ends_with(" 0     1   r--       1.0  1 / all\n")
    );
    assert_eq!(console.prints("-N vcpu-pin a all - 0"), "cpumap: - 0\n");
    assert_eq!(console.prints("-N vcpu-pin a all all"), "cpumap: all\n");
    assert_eq!(
        console.complains("vcpu-pin a x 0"),
        "Error: Invalid argument x as VCPU.\n"
    );
    assert_eq!(
        console.complains("vcpu-pin a 7 0"),
        "Could not set affinity for vcpu `7'.\n"
    );
    assert_eq!(
        console.complains("vcpu-pin -f a all 0"),
        "Error: --force and 'all' as VCPU not allowed.\n"
    );
    assert_eq!(
        console.complains("vcpu-pin a 0 ^all"),
        "Can't combine \"^\" and \"all\".\n"
    );
    for line in [
        "sched-credit2 -d a -w 512 -c 50",
        "sched-credit2 -d a -w=512 -c50",
        "sched-credit2 --domain=a --weight=512 --cap 50",
    ] {
        assert_eq!(console.prints(line), "");
        assert!(
            console
                .prints("sched-credit2 -d a")
                .ends_with("a                                    1    512   50\n")
        );
    }
    assert!(
        console
            .prints("sched-credit2")
            .starts_with("Cpupool Pool-0: ratelimit=1000us\nName")
    );
    assert_eq!(console.complains("sched-credit2 -w 5"), "Must specify a domain.\n");
    assert_eq!(
        console.complains("sched-credit2 -d a -w 0"),
        "Error: Invalid argument.\nhint: a weight is 1 to 65535\n"
    );
}

#[test]
fn consoles_have_an_escape() {
    let mut console = Console::new();
    console.alive("a");
    let mut follows = |line: &str| console.types(line).follow;
    assert_eq!(
        follows("console a"),
        Follow::Console {
            domain: DomId(1),
            escape: 0x1d
        }
    );
    assert_eq!(
        follows("console -e ^a a"),
        Follow::Console {
            domain: DomId(1),
            escape: 1
        }
    );
    assert_eq!(
        follows("console -t serial -n 0 -e x a"),
        Follow::Console {
            domain: DomId(1),
            escape: b'x'
        }
    );
    assert_eq!(console.types("console -t vnc a").code, 2);
}

#[test]
fn the_host_is_described_and_stopped() {
    let mut console = Console::new();
    console.alive("a");
    assert_eq!(console.prints("info free_memory"), "512\n");
    assert!(console.prints("info").starts_with("host                   : ecusson\n"));
    assert_eq!(console.prints("dmesg -c"), "kernel says\n");
    assert_eq!(console.prints("dmesg"), "");
    assert_eq!(console.prints("log"), "toolstack says\n");
    assert_eq!(console.types("top").follow, Follow::Repeat { delay_s: 3 });
    assert!(
        console
            .prints("top -b")
            .contains("\n         a -----r          2   12.5")
    );
    assert!(console.prints("uptime").starts_with("Name"));
    assert_eq!(
        console.complains("host frob"),
        "Error: Invalid argument.\nhint: host shutdown, or host reboot\n"
    );
    assert_eq!(
        console.types("host reboot").stderr,
        "Stopping 1 domains, then the host\n"
    );
    console.happens(Event::Ended(DomId(1), EndReason::PowerOff));
    console.happens(Event::Gone(DomId(1)));
    assert_eq!(console.actions().last(), Some(&Action::Power(HostPower::Reboot)));
}

#[test]
fn domains_that_start_with_the_host_are_listed_in_order() {
    let mut console = Console::new();
    console.file("a", "name = 'a'");
    console.file("b", "name = 'b'");
    assert!(
        console
            .complains("autostart add c")
            .starts_with("Error: no configuration of c is kept.\n")
    );
    for line in ["autostart add b", "autostart add a", "autostart add b"] {
        console.prints(line);
    }
    assert_eq!(console.prints("autostart"), "b\na\n");
    console.prints("autostart remove b");
    assert_eq!(console.prints("autostart"), "a\n");
    assert_eq!(
        console.complains("autostart remove b"),
        "Error: b does not start with the host.\n"
    );
}

#[test]
fn configurations_are_shown_and_updated() {
    let mut console = Console::new();
    console.alive("a");
    console.file(
        "new.cfg",
        "name = 'a'\nmemory = 256\ndisk = [ 'vg/a,raw,xvda,rw' ]\nvif = [ 'mac=00:16:3e:00:00:01' ]\n",
    );
    let outcome = console.types("config-update a new.cfg");
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let text = console.prints("list -l a");
    assert!(
        text.starts_with("[\n    {\n        \"domid\": 1,\n        \"config\": {\n            \"c_info\": {\n"),
        "{text}"
    );
    assert!(text.contains("\"max_memkb\": 131072,\n"));
    assert!(
        text.ends_with("            \"on_soft_reset\": \"soft-reset\"\n        }\n    }\n]\n"),
        "{text}"
    );
    let text = console.prints("-N create -q new.cfg");
    assert!(text.contains("        {\n            \"pdev_path\": \"vg/a\",\n            \"vdev\": \"xvda\",\n            \"format\": \"raw\",\n            \"readwrite\": 1,\n"), "{text}");
    assert!(text.contains("\"mac\": \"00:16:3e:00:00:01\",\n            \"bridge\": \"xenbr0\"\n"));
}

proptest::proptest! {
    #[test]
    fn no_line_makes_a_command_panic(line in "(create|list|vcpu-pin|sched-credit2|shutdown|rename|console|top|host|-N|xl|[ -~]{0,9})( -?-?[ -~]{0,9}| a| 1| all){0,6}") {
        let mut console = Console::new();
        console.alive("a");
        console.types(&line);
        console.actions();
    }
}
