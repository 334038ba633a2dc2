//! Budgets, weights and priorities, measured by what the kernel itself accounted: no wall-clock is asserted.

use ecusson_abi::{FAIR_PRIORITY, ops};
use ecusson_rt::sys;

use ecusson_test_kit::{Kit, Share, Worker};

/// Without `pause`, at each of which QEMU leaves its translated code: it would take minutes.
extern "C" fn spinner(_: u64) -> ! {
    loop {
        core::hint::black_box(());
    }
}

fn used(worker: Worker) -> u64 {
    sys::invoke(worker.context, [ops::sched_context::USED, 0, 0, 0, 0, 0]).second
}

/// A thread gets its budget in each period and no more.
pub(crate) fn budgets(kit: &Kit) {
    let period = kit.microseconds(2_000);
    let share = Share {
        core: 0,
        priority: 5,
        weight: 0,
        budget: period / 4,
        period,
    };
    let worker = kit.spawn(share, spinner, 0);
    let begin = sys::now();
    kit.sleep_us(40_000);
    let periods = (sys::now() - begin) / period + 2;
    // What a timer interrupt costs is charged to whoever it interrupts: a little over a budget each time.
    let most = periods * (share.budget + period / 20);
    kit.expect(used(worker) <= most, "no more than the budget of each period");
    kit.expect(used(worker) >= share.budget, "but at least one budget");
    kit.reset();
}

/// Two threads of the fair band share by weight.
pub(crate) fn weights(kit: &Kit) {
    let fair = u64::from(FAIR_PRIORITY);
    let share = |weight| Share {
        weight,
        ..Share::unlimited(0, fair)
    };
    let light = kit.spawn(share(100), spinner, 0);
    let heavy = kit.spawn(share(300), spinner, 0);
    kit.sleep_us(150_000);
    let (light, heavy) = (used(light), used(heavy));
    kit.expect(light > 0, "the lighter one runs too");
    let percent = heavy * 100 / light.max(1);
    ecusson_test_kit::print(format_args!("weights 3:1 gave {percent} %"));
    kit.expect(
        (240..=360).contains(&percent),
        "three times the weight, three times the time",
    );
    kit.reset();
}

/// A thread of higher priority keeps a lower one from running at all.
pub(crate) fn priorities(kit: &Kit) {
    let high = kit.spawn(Share::unlimited(0, 9), spinner, 0);
    let low = kit.spawn(Share::unlimited(0, 8), spinner, 0);
    kit.sleep_us(5_000);
    kit.expect(used(high) > 0, "the higher one runs");
    kit.expect_equal(used(low), 0, "the lower one waits");
    kit.must(high.thread, [ops::thread::STOP, 0, 0, 0, 0, 0]);
    kit.sleep_us(5_000);
    kit.expect(used(low) > 0, "until the higher one stops");
    kit.reset();
}
