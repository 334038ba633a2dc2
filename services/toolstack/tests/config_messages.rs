//! What is said about wrong configurations: first lines word for word as `xl` says them, second lines with the place.

use ecusson_toolstack::config::{self, Diagnostic, DomainConfig, Severity};

fn check(text: &str) -> Result<(DomainConfig, Vec<Diagnostic>), Vec<Diagnostic>> {
    config::parse("web.cfg", text, &[])
}

/// What the text is refused with, all of it.
#[track_caller]
fn refused(text: &str) -> String {
    let findings = check(text).expect_err("accepted");
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn warned(text: &str) -> String {
    let (_, warnings) = check(text).expect("refused");
    warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn grammar_errors_name_the_token() {
    assert_eq!(
        refused("name = \"a\"\nmemory 512\n"),
        "web.cfg:2: config parsing error near `512': syntax error\n\
         hint: web.cfg:2:8: put = or += between the name and its value"
    );
    assert_eq!(
        refused("name = \"a\"\nvcpus =\nmemory = 1\n"),
        "web.cfg:2: config parsing error near <newline>: syntax error\n\
         hint: web.cfg:2:8: a value is a number, a text in quotes, or a list in brackets"
    );
    assert_eq!(
        refused("import os\n"),
        "web.cfg:1: config parsing error near `os': syntax error\n\
         hint: web.cfg:1:8: put = or += between the name and its value"
    );
    assert!(refused("disk = [ 'a'").starts_with("web.cfg:1: config parsing error near <end of file>: syntax error"));
    assert!(refused("a = 1 b = 2").starts_with("web.cfg:1: config parsing error near `b': syntax error"));
    assert!(refused("def f(x):").starts_with("web.cfg:1: config parsing error near `f': syntax error"));
    assert!(refused("x = os.popen").starts_with("web.cfg:1: config parsing error near `os.popen': syntax error"));
    let deep = format!("a = {}", "[".repeat(5000));
    assert!(refused(&deep).contains("lists are nested too deeply"));
}

#[test]
fn characters_outside_the_grammar_are_lexical_errors() {
    assert_eq!(
        refused("Name = 'a'"),
        "web.cfg:1: config parsing error near `N': lexical error\n\
         hint: web.cfg:1:1: only NAME = VALUE lines are read here, not programs: names in small letters, texts in quotes"
    );
    assert!(refused("name = 'a\n'").starts_with("web.cfg:1: config parsing error near `'a': unterminated string"));
    assert!(refused(r"name = 'a\q'").contains("invalid character after backslash in quoted string"));
    assert!(refused(r"name = '\0'").contains("invalid character after backslash in quoted string"));
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    assert_eq!(
        refused("name = 'a'\nmemory = [ 1 ]"),
        "web.cfg:2: error: parameter `memory' is a list but should be a single value\n\
         hint: web.cfg:2:10: remove the brackets"
    );
    assert_eq!(
        refused("name = 'a'\nmemory = '12q'"),
        "web.cfg:2: error: parameter `memory' could not be parsed as a number: `12q'\n\
         hint: web.cfg:2:10: write a whole number from 4 to 16777216, decimal, or 0x and hexadecimal"
    );
    assert_eq!(
        refused("name = 'a'\nvcpus = 65"),
        "web.cfg:2: error: parameter `vcpus' is out of range: 65\nhint: web.cfg:2:9: it can be 1 to 64"
    );
    assert_eq!(
        refused("name = 'a'\nvif = [ [ 'x' ] ]"),
        "web.cfg:2:9: error: value is not a string\n\
         hint: web.cfg:2:9: lists do not nest here: remove the inner brackets"
    );
    assert_eq!(
        refused("name = 'a'\ndisk = 'x,raw,xvda,rw'"),
        "web.cfg:2: error: parameter `disk' is a single value but should be a list\n\
         hint: web.cfg:2:8: put it in brackets: [ \"...\" ]"
    );
    assert_eq!(
        refused("name = 'a'\nmemory = 1\nmemory += 2"),
        "web.cfg:3: can't use += with numbers for parameter `memory'\n\
         hint: web.cfg:3:11: write the whole number, with ="
    );
}

#[test]
fn every_fault_is_told_at_once() {
    let said = refused("vcpus = 4\nmaxvcpus = 2\non_crash = 'explode'\ncpus = '0-3,x'\ncpus_soft = '^all'");
    assert_eq!(
        said,
        "Domain name must be specified.\n\
         hint: web.cfg: add a line like: name = \"web01\"\n\
         xl: maxvcpus < vcpus\n\
         hint: web.cfg:2:12: make maxvcpus at least as large as vcpus, or remove it\n\
         Invalid pcpu range: x.\n\
         hint: web.cfg:4:8: processors are 0 to 63, like \"all\", \"0-3,5\" or \"0-7,^1\"; the only node is 0\n\
         Can't combine \"^\" and \"all\".\n\
         hint: web.cfg:5:13: say which to take away, like \"all,^0\"\n\
         Unknown on_crash action \"explode\" specified\n\
         hint: web.cfg:3:12: it can be destroy, restart, rename-restart, preserve, coredump-destroy, coredump-restart, \
         soft-reset"
    );
}

#[test]
fn names_and_uuids_are_checked() {
    assert!(refused("name = '12'").contains("a name of digits alone would be taken for a domain id"));
    assert!(refused("name = 'a b'").starts_with("Invalid domain name \"a b\"."));
    assert!(refused("name = '-p'").starts_with("Invalid domain name \"-p\"."));
    assert!(refused("name = ''").contains("a name has 1 to 64 characters"));
    assert!(refused("name = 'a'\nuuid = '3e3f'").starts_with("Failed to parse UUID: 3e3f\n"));
    assert!(refused("name = 'a'\npool = 'p'").starts_with("Unknown cpupool name \"p\"\n"));
}

#[test]
fn unknown_names_are_only_warned_about() {
    assert_eq!(
        warned("name = 'a'\nmemroy = 512\nvnc = 1\ncolour = 2"),
        "web.cfg:2: warning: unknown parameter `memroy' is ignored\n\
         hint: web.cfg:2:1: did you mean `memory'?\n\
         web.cfg:3: warning: parameter `vnc' has no effect here\n\
         hint: web.cfg:3:1: it is one of Xen's that this platform does not have: remove it\n\
         web.cfg:4: warning: unknown parameter `colour' is ignored\n\
         hint: web.cfg:4:1: remove it"
    );
    assert_eq!(
        warned("name = 'a'\nname = 'b'"),
        "web.cfg:2: warning: parameter `name' is set again\n\
         hint: web.cfg:2:1: the value of line 1 no longer counts: remove one of them"
    );
    assert!(
        warned("name = 'a'\ncmdline = 'x'\nroot = '/dev/xvda'")
            .starts_with("Warning: ignoring root= and extra= in favour of cmdline=\n")
    );
}

#[test]
fn disks_that_are_wrong_are_refused() {
    let disk = |spec: &str| refused(&format!("name = 'a'\ndisk = [ '{spec}' ]"));
    assert_eq!(
        disk("/usr/share/ovmf/OVMF.fd,hdb,w"),
        "web.cfg: config parsing error in disk specification: unknown value for format: near `hdb' in \
         `/usr/share/ovmf/OVMF.fd,hdb,w'\n\
         hint: web.cfg:2:10: the order is target, format, vdev, access; format is raw, qcow, qcow2, vhd or qed"
    );
    let starts = |spec: &str, message: &str| {
        let said = disk(spec);
        let expected = format!("web.cfg: config parsing error in disk specification: {message}");
        assert!(said.starts_with(&expected), "{said}");
    };
    starts("vg/a,raw,xvda,x", "unknown value for access: near `x' in");
    starts("vg/a,raw", "no vdev specified in `vg/a,raw'");
    starts(",raw,xvda,rw", "no target specified in");
    starts(
        "vg/a,raw,xvda,rw,more",
        "too many positional parameters: near `more' in",
    );
    starts(
        "vg/a,raw,xvda,access=ro,access=rw",
        "parameter specified more than once: near `access=rw' in",
    );
    starts("vg/a,raw,hde,rw", "unknown value for vdev: near `hde' in");
    starts(
        "vg/a,raw,xvda,frobnicate=1",
        "unknown parameter: near `frobnicate=1' in",
    );
    starts("vg/a,raw,hdc:cdrom,rw", "a cdrom can't be written in");
    let twice = refused("name = 'a'\ndisk = [ 'vg/a,raw,xvda,rw', 'vg/b,raw,xvda,rw' ]");
    assert!(twice.starts_with("disk vdev=xvda is used twice\nhint: web.cfg:2:30:"));
}

#[test]
fn network_cards_that_are_wrong_are_refused() {
    let vif = |spec: &str| refused(&format!("name = 'a'\nvif = [ '{spec}' ]"));
    for (spec, message) in [
        ("rate=10ZB/s", "invalid rate in `10ZB/s'"),
        ("rate=5000000000B/s", "rate overflow in `5000000000B/s'"),
        ("rate=4000GB/s@10s", "rate overflow in `4000GB/s@10s'"),
        ("rate=1MB/s@", "replenishment interval"),
        ("rate=1MB/s@5h", "invalid replenishment interval in `1MB/s@5h'"),
        ("rate=1MB/s@5000s", "replenishment interval overflow in `1MB/s@5000s'"),
        ("rate=", "no rate specified in `'"),
    ] {
        let said = vif(spec);
        assert!(said.starts_with("web.cfg: config parsing error in vif: "), "{said}");
        assert!(said.contains(message), "{said}");
    }
    assert!(vif("mac=00:16:3e:00:00").starts_with("Invalid parameter `mac'.\nhint: web.cfg:2:9: "));
    assert!(vif("mac=01:16:3e:00:00:01").starts_with("Invalid parameter `mac'.\n"));
    assert!(vif("foo=1").starts_with("unrecognized argument `foo'\n"));
    assert!(vif("vlan=5000").starts_with("Invalid parameter `vlan'.\n"));
    assert!(vif("vlan=10p/20p").starts_with("Invalid parameter `vlan'.\n"));
    let twice = refused("name = 'a'\nvif = [ 'devid=1', '' ]");
    assert!(twice.starts_with("vif 1: devid or mac is used twice\n"));
}
