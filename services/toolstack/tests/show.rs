//! Tables, character by character.

use ecusson_toolstack::config::{CpuSet, MacAddress, Uuid};
use ecusson_toolstack::life::{Activity, DomId, EndReason};
use ecusson_toolstack::show::{
    self, Counters, DeviceState, DiskStatus, HostFacts, ListOptions, NicStatus, Row, Summary, TopRow, VcpuRow,
};

fn row(name: &str, id: u16, memory_mib: u64, vcpus: u32, state: &str, cpu_time_ms: u64) -> Row {
    Row {
        name: name.to_string(),
        id: DomId(id),
        uuid: Uuid::parse("3e3fce45-4f53-4fa7-bb32-11f34168b82b").unwrap(),
        memory_kib: memory_mib * 1024,
        vcpus,
        state: state.to_string(),
        cpu_time_ms,
        uptime_ms: 0,
        ended: None,
        weight: 256,
        cap_percent: 0,
    }
}

fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("Domain-0", 0, 750, 4, "r-----", 11_794_300),
        row("web01", 1, 512, 2, "-b----", 5_624_160),
        row("db01", 2, 2048, 1, "--p---", 345),
        row("old", 3, 256, 1, "---sc-", 9_900),
    ];
    rows[3].ended = Some(EndReason::Crash);
    rows
}

#[test]
fn list_is_as_scripts_expect() {
    assert_eq!(
        show::list(&rows(), ListOptions::default()),
        "Name                                        ID   Mem VCPUs\tState\tTime(s)\n\
         Domain-0                                     0   750     4     r-----   11794.3\n\
         web01                                        1   512     2     -b----    5624.2\n\
         db01                                         2  2048     1     --p---       0.3\n\
         old                                          3   256     1     ---sc-       9.9\n"
    );
}

#[test]
fn list_has_more_columns_on_request() {
    let options = ListOptions {
        verbose: true,
        cpupool: true,
        numa: true,
        context: true,
    };
    let text = show::list(&rows()[3..], options);
    assert_eq!(
        text,
        "Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                            \
         Reason-Code\tSecurity Label         Cpupool NODE Affinity\n\
         old                                          3   256     1     ---sc-       9.9 \
         3e3fce45-4f53-4fa7-bb32-11f34168b82b        3                -          Pool-0 all\n"
    );
    let context = ListOptions {
        context: true,
        ..ListOptions::default()
    };
    assert!(show::list(&[], context).ends_with("Time(s)   Security Label\n"));
}

#[test]
fn vm_list_leaves_nothing_out() {
    assert_eq!(
        show::vm_list(&rows()[1..2]),
        "UUID                                  ID    name\n3e3fce45-4f53-4fa7-bb32-11f34168b82b  1    web01                         \n"
    );
}

#[test]
fn vcpu_list_is_as_scripts_expect() {
    let vcpu = |vcpu, online, cpu_time_ms, hard| VcpuRow {
        name: "web01".to_string(),
        id: DomId(1),
        vcpu,
        online,
        cpu_time_ms,
        hard,
        soft: CpuSet::ALL,
    };
    let rows = [
        vcpu(0, Some((1, Activity::Blocked)), 5_624_200, CpuSet::from_bits(3)),
        vcpu(1, None, 0, CpuSet::ALL),
        vcpu(2, Some((3, Activity::Running)), 100, CpuSet::from_bits(8)),
    ];
    assert_eq!(
        show::vcpu_list(&rows, 4),
        "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n\
         web01                                1     0     1   -b-    5624.2  0-1 / all\n\
         web01                                1     1     -   --p       0.0  all / all\n\
         web01                                1     2     3   r--       0.1  3 / all\n"
    );
}

#[test]
fn device_lists_are_as_scripts_expect() {
    let nic = NicStatus {
        devid: 0,
        mac: MacAddress::parse("00:16:3e:aa:bb:cc").unwrap(),
        state: DeviceState::Connected,
        doorbell: 13,
        transmit_queue: 768,
        receive_queue: 769,
    };
    assert_eq!(
        show::network_list(DomId(1), &[nic]),
        "Idx BE Mac Addr.         handle state evt-ch   tx-/rx-ring-ref BE-path                       \n\
         0   0  00:16:3e:aa:bb:cc     0     4     13   768/769         /local/domain/0/backend/vif/1/0\n"
    );
    let disk = DiskStatus {
        vdev: "xvda".parse().unwrap(),
        state: DeviceState::Connected,
        doorbell: 12,
        queue: 8,
    };
    assert_eq!(
        show::block_list(DomId(1), &[disk]),
        "Vdev  BE  handle state evt-ch ring-ref BE-path                       \n\
         51712 0   1      4     12     8        /local/domain/0/backend/vbd/1/51712\n"
    );
}

#[test]
fn uptime_counts_days() {
    let mut all = rows();
    all[0].uptime_ms = (12 * 86400 + 3 * 3600 + 4 * 60 + 5) * 1000;
    all[1].uptime_ms = (3600 + 23 * 60 + 45) * 1000;
    all[2].uptime_ms = 86_400_000;
    assert_eq!(
        show::uptime(&all[..3]),
        "Name                                ID Uptime\n\
         Domain-0                             0 12 days,  3:04:05\n\
         web01                                1  1:23:45\n\
         db01                                 2 1 day,  0:00:00\n"
    );
    assert_eq!(
        show::uptime_short(&all[1..2], 45_296),
        " 12:34:56 up  1:23, web01 (1)\n"
    );
}

#[test]
fn schedulers_parameters_are_listed() {
    assert_eq!(
        show::sched_credit2(&rows()[1..2]),
        "Cpupool Pool-0: ratelimit=1000us\n\
         Name                                ID Weight  Cap\n\
         web01                                1    256    0\n"
    );
    assert!(
        show::sched_credit2_row(&rows()[1]).starts_with("Name                                ID Weight  Cap\nweb01")
    );
}

fn facts() -> HostFacts {
    HostFacts {
        host: "ecusson".to_string(),
        release: "0.1.0".to_string(),
        version: "today".to_string(),
        cpus: 2,
        cores_per_socket: 2,
        threads_per_core: 1,
        cpu_khz: 2_095_076,
        hw_caps: [0xbfeb_fbff, 0, 1, 2, 3, 4, 5, 6],
        virt_caps: vec!["hvm".to_string(), "hap".to_string()],
        total_kib: 2 << 20,
        free_kib: 1 << 20,
        command_line: "panic=reset".to_string(),
        compiler: "rustc".to_string(),
    }
}

#[test]
fn info_has_xens_names_in_xens_order() {
    let text = facts().info(false);
    for line in [
        "host                   : ecusson",
        "cpu_mhz                : 2095.076",
        "hw_caps                : bfebfbff:00000000:00000001:00000002:00000003:00000004:00000005:00000006",
        "virt_caps              : hvm hap",
        "total_memory           : 2048",
        "free_memory            : 1024",
        "xen_minor              : 1",
        "xen_extra              : .0",
        "platform_params        : virt_start=0xffff800000000000",
        "xend_config_format     : 4",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
    }
    let names: Vec<&str> = text
        .lines()
        .map(|line| line.split_once(':').unwrap().0.trim_end())
        .collect();
    let expected = "host release version machine nr_cpus max_cpu_id nr_nodes cores_per_socket threads_per_core cpu_mhz hw_caps \
                    virt_caps total_memory free_memory sharing_freed_memory sharing_used_memory outstanding_claims free_cpus \
                    xen_major xen_minor xen_extra xen_version xen_caps xen_scheduler xen_pagesize platform_params \
                    xen_changeset xen_commandline cc_compiler cc_compile_by cc_compile_domain cc_compile_date build_id \
                    xend_config_format";
    assert_eq!(names.join(" "), expected);
    assert_eq!(facts().field("free_memory"), "1024\n");
    assert_eq!(facts().field("nonsense"), "");
    let topology = facts().info(true);
    assert!(topology.contains(
        "free_cpus              : 0\ncpu_topology           :\ncpu:    core    socket     node\n  0:       0        0        0\n  \
         1:       1        0        0\ndevice topology        :\nNo device topology data available\nnuma_info              :\n\
         node:    memsize    memfree    distances\n   0:      2048       1024      10\nxen_major"
    ));
}

#[test]
fn top_has_xentops_columns() {
    let counters = Counters {
        nics: 1,
        sent_bytes: 1204 * 1024,
        received_bytes: 88_123 * 1024,
        disks: 1,
        out_of_requests: 0,
        reads: 9121,
        writes: 3307,
        read_sectors: 402_114,
        written_sectors: 66_120,
    };
    let row = TopRow {
        row: rows().remove(1),
        cpu_permille: 7,
        max_memory_kib: Some(525_312),
        counters,
    };
    let expected = "      NAME  STATE   CPU(sec) CPU(%)     MEM(k) MEM(%)  MAXMEM(k) MAXMEM(%) VCPUS NETS NETTX(k) NETRX(k) VBDS   \
                    VBD_OO   VBD_RD   VBD_WR  VBD_RSECT  VBD_WSECT SSID\n     web01 --b---       5624    0.7     524288    8.3     \
                    525312       8.4     2    1     1204    88123    1        0     9121     3307     402114      66120    0\n";
    // The sample's shares are of 6.3 million KiB, rounded.
    assert_eq!(show::top_batch(std::slice::from_ref(&row), 6_285_000), expected);
    let summary = Summary {
        wall_s: 3661,
        release: "0.1.0",
        total_kib: 2048,
        free_kib: 48,
        cpus: 2,
        cpu_mhz: 2095,
    };
    let screen = show::top_screen(
        &[TopRow {
            max_memory_kib: None,
            ..row
        }],
        &summary,
    );
    assert!(screen.starts_with(
        "xentop - 01:01:01   Ecusson 0.1.0\n1 domains: 0 running, 1 blocked, 0 paused, 0 crashed, 0 dying, 0 shutdown \n\
         Mem: 2048k total, 2000k used, 48k free    CPUs: 2 @ 2095MHz\n"
    ));
    assert!(screen.contains("  no limit       n/a"));
}
