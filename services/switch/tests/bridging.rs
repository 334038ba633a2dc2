//! Who gets which frame: learning, filters, forgery, bounds, counters.

mod support;

use ecusson_rate::{Limits, Rate};
use ecusson_switch::{Filter, Mac, PortId, PortSettings, Settings, Switch, SwitchError, Traffic, Turn};
use support::*;

const SECOND: u64 = 1_000_000_000;

/// Ports 0 and 1: guests 1 and 2. Ports 2 and 3: uplinks.
fn switch() -> Switch<VecLink> {
    let mut switch = Switch::new(Settings {
        stations_per_port: 4,
        age_ns: 10 * SECOND,
    });
    for filter in [Filter::Only(mac(1)), Filter::Only(mac(2)), Filter::Any, Filter::Any] {
        switch.add_port(settings(filter), VecLink::default(), 0).unwrap();
    }
    switch
}

/// Sends a frame in by a port; the ports it came out of.
fn send(switch: &mut Switch<VecLink>, port: u16, now_ns: u64, bytes: Vec<u8>) -> Vec<u16> {
    switch.link(PortId(port)).unwrap().queue(bytes.clone());
    assert_eq!(switch.run(PortId(port), now_ns, 8), Ok(Turn::Idle));
    assert_eq!(switch.link(PortId(port)).unwrap().held, 0);
    let ids: Vec<PortId> = switch.ports().collect();
    let mut out = Vec::new();
    for id in ids {
        for (_, got) in std::mem::take(&mut switch.link(id).unwrap().got) {
            assert_eq!(got, bytes);
            out.push(id.0);
        }
    }
    out
}

#[test]
fn known_stations_get_their_frames_alone() {
    let mut switch = switch();
    assert_eq!(send(&mut switch, 0, 0, frame(mac(2), mac(1), b"hello")), [1]);
    assert_eq!(
        send(&mut switch, 0, 0, frame(Mac::BROADCAST, mac(1), b"who")),
        [1, 2, 3]
    );
    assert_eq!(
        send(&mut switch, 0, 0, frame(Mac([0x33, 0x33, 0, 0, 0, 1]), mac(1), b"")),
        [1, 2, 3]
    );
    // A stranger: only where strangers may be; guests see nothing of it.
    assert_eq!(send(&mut switch, 0, 0, frame(mac(9), mac(1), b"stranger")), [2, 3]);
    assert_eq!(send(&mut switch, 2, 0, frame(mac(1), mac(9), b"answer")), [0]);
    assert_eq!(send(&mut switch, 0, 0, frame(mac(9), mac(1), b"known now")), [2]);
    // It moved to the other uplink.
    assert_eq!(send(&mut switch, 3, 0, frame(mac(1), mac(9), b"moved")), [0]);
    assert_eq!(send(&mut switch, 0, 0, frame(mac(9), mac(1), b"follows")), [3]);
    // Silent too long.
    assert_eq!(
        send(&mut switch, 0, 11 * SECOND, frame(mac(9), mac(1), b"gone")),
        [2, 3]
    );
    // To itself, and what no bridge passes.
    assert_eq!(send(&mut switch, 0, 0, frame(mac(1), mac(1), b"me")), []);
    assert_eq!(
        send(&mut switch, 2, 0, frame(Mac([1, 0x80, 0xC2, 0, 0, 0]), mac(9), b"STP")),
        []
    );
}

#[test]
fn nobody_speaks_for_others() {
    let mut switch = switch();
    // A guest with another's address, or with a new one; an uplink with a guest's.
    assert_eq!(send(&mut switch, 0, 0, frame(mac(2), mac(9), b"forged")), []);
    assert_eq!(send(&mut switch, 1, 0, frame(Mac::BROADCAST, mac(1), b"forged")), []);
    assert_eq!(send(&mut switch, 2, 0, frame(mac(2), mac(1), b"forged")), []);
    for port in [0, 1, 2] {
        let counters = switch.counters(PortId(port)).unwrap();
        assert_eq!(
            (counters.forged, counters.sent.dropped, counters.sent.frames),
            (1, 1, 0)
        );
    }
    assert_eq!(send(&mut switch, 3, 0, frame(mac(1), mac(8), b"still at home")), [0]);
    // Senders that no station has.
    for from in [Mac::BROADCAST, Mac([0; 6]), Mac([3, 0, 0, 0, 0, 0])] {
        assert_eq!(send(&mut switch, 2, 0, frame(mac(1), from, b"nobody")), []);
    }
    assert_eq!(switch.counters(PortId(2)).unwrap().sent.dropped, 4);
}

#[test]
fn addresses_are_given_once() {
    let mut switch = switch();
    let mut add = |filter| switch.add_port(settings(filter), VecLink::default(), 0);
    assert_eq!(add(Filter::Only(mac(1))), Err(SwitchError::AddressTaken(mac(1))));
    assert_eq!(
        add(Filter::Only(Mac::BROADCAST)),
        Err(SwitchError::BadAddress(Mac::BROADCAST))
    );
    // A port that goes leaves its address; who was learned under an address that is bound now is forgotten.
    assert!(switch.remove_port(PortId(0)).is_some());
    assert_eq!(send(&mut switch, 2, 0, frame(mac(2), mac(1), b"free now")), [1]);
    assert_eq!(switch.stations(), 1);
    assert_eq!(
        switch.add_port(settings(Filter::Only(mac(1))), VecLink::default(), 0),
        Ok(PortId(0))
    );
    assert_eq!(switch.stations(), 0);
    assert_eq!(send(&mut switch, 1, 0, frame(mac(1), mac(2), b"to the new one")), [0]);
}

#[test]
fn one_port_fills_only_its_own_share() {
    let mut switch = switch();
    for last in 10..30 {
        send(&mut switch, 2, 0, frame(mac(1), mac(last), b""));
    }
    assert_eq!(switch.stations(), 4);
    send(&mut switch, 3, 0, frame(mac(1), mac(40), b""));
    assert_eq!(switch.stations(), 5);
    assert_eq!(send(&mut switch, 0, 0, frame(mac(40), mac(1), b"")), [3]);
    assert_eq!(send(&mut switch, 0, 0, frame(mac(29), mac(1), b"")), [2, 3]);
    // Those that are silent make room.
    send(&mut switch, 2, 11 * SECOND, frame(mac(1), mac(50), b""));
    assert_eq!(switch.stations(), 1);
    switch.remove_port(PortId(2));
    assert_eq!(switch.stations(), 0);
}

#[test]
fn sizes_are_held_and_traffic_is_counted() {
    let mut switch = switch();
    let payload = |bytes: usize| vec![7; bytes];
    assert_eq!(send(&mut switch, 0, 0, frame(mac(2), mac(1), &payload(1500))), [1]);
    assert_eq!(send(&mut switch, 0, 0, frame(mac(2), mac(1), &payload(1501))), []);
    let tagged = |bytes| [&mac(2).0[..], &mac(1).0, &[0x81, 0, 0, 1], &[0; 2], &payload(bytes)[..]].concat();
    assert_eq!(send(&mut switch, 0, 0, tagged(1500)), [1]);
    assert_eq!(send(&mut switch, 0, 0, tagged(1501)), []);
    assert_eq!(send(&mut switch, 0, 0, vec![1; 13]), []);
    let sent = Traffic {
        frames: 2,
        bytes: 1514 + 1518,
        dropped: 3,
    };
    assert_eq!(switch.counters(PortId(0)).unwrap().sent, sent);
    let received = Traffic { dropped: 0, ..sent };
    assert_eq!(switch.counters(PortId(1)).unwrap().received, received);

    switch.link(PortId(1)).unwrap().room = Some(0);
    assert_eq!(send(&mut switch, 0, 0, frame(mac(2), mac(1), b"no room")), []);
    assert_eq!(switch.counters(PortId(1)).unwrap().received.dropped, 1);
    assert_eq!(switch.counters(PortId(9)), None);
}

#[test]
fn a_port_sends_no_faster_than_it_may() {
    let mut switch = switch();
    let rate = Rate {
        per_second: 1000,
        burst: 100,
    };
    let limits = Limits {
        bytes: Some(rate),
        operations: None,
    };
    let limited = PortSettings {
        limits,
        ..settings(Filter::Only(mac(5)))
    };
    let port = switch.add_port(limited, VecLink::default(), 0).unwrap();
    for _ in 0..5 {
        switch.link(port).unwrap().queue(frame(mac(1), mac(5), &[0; 86]));
    }
    assert_eq!(switch.run(port, 0, 1), Ok(Turn::More));
    assert_eq!(switch.run(port, 0, 8), Ok(Turn::Until(1)));
    assert_eq!(switch.run(port, 1, 8), Ok(Turn::Until(100_000_001)));
    assert_eq!(switch.link(PortId(0)).unwrap().got.len(), 2);
    // Nonsense counts as well.
    let operations = Some(Rate {
        per_second: 1,
        burst: 1,
    });
    let limits = Limits {
        bytes: None,
        operations,
    };
    let port = switch
        .add_port(
            PortSettings {
                limits,
                ..settings(Filter::Any)
            },
            VecLink::default(),
            0,
        )
        .unwrap();
    switch.link(port).unwrap().queue(vec![0; 3]);
    switch.link(port).unwrap().queue(vec![0; 3]);
    assert!(matches!(switch.run(port, 0, 8), Ok(Turn::Until(_))));
}
