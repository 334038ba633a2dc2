//! Processes that are started on demand: what their controllers may ask, and what they are told.
//!
//! Called by [`crate::supervise`] for the requests of a process and at the end of one. Who controls whom is the
//! composition's; a controller that ends leaves its processes alone, and its next self asks how they are.

use ecusson_abi::Words;
use ecusson_proto::supervisor::{Ended, NOT_YOURS, OK, Order, Report, State as ReportedState, WRONG_STATE};

use crate::edges::Peers as _;
use crate::supervise::{State, Supervisor};

impl Supervisor {
    /// Serves a request about process number `number` of those that `controller` controls.
    pub(crate) fn control(&mut self, controller: usize, number: u16, order: Order) -> Words {
        let process = self.composition.processes.get(controller);
        let control = process.and_then(|process| process.controls.get(usize::from(number)));
        let code = match control.map(|control| usize::from(control.process)) {
            None => NOT_YOURS,
            Some(index) => match order {
                Order::Start => self.start_on_demand(index),
                Order::Stop => self.stop(index),
                Order::Report => return self.report(index),
            },
        };
        [code, 0, 0, 0, 0, 0]
    }

    /// It is made when root's loop comes round: nobody waits for that in a call.
    fn start_on_demand(&mut self, index: usize) -> u64 {
        match self.records.get_mut(index) {
            Some(record) if record.state == State::Ended => {
                record.state = State::Waiting { again_at: 0 };
                OK
            }
            _ => WRONG_STATE,
        }
    }

    fn stop(&mut self, index: usize) -> u64 {
        match self.records.get(index).map(|record| record.state) {
            Some(State::Running) => {
                self.died(index, Ended::Stopped, format_args!("is stopped by its controller"));
                OK
            }
            Some(State::Waiting { .. }) => {
                if let Some(record) = self.records.get_mut(index) {
                    record.state = State::Ended;
                    record.ended = Some(Ended::Stopped);
                }
                self.tell_controller(index);
                OK
            }
            _ => WRONG_STATE,
        }
    }

    fn report(&self, index: usize) -> Words {
        let Some(record) = self.records.get(index) else {
            return [NOT_YOURS, 0, 0, 0, 0, 0];
        };
        let state = match record.state {
            State::Ended => ReportedState::Off,
            State::Running => ReportedState::Running,
            State::Dying { .. } => ReportedState::Ending,
            State::Waiting { .. } => ReportedState::Starting,
        };
        let ended = record.ended.unwrap_or(Ended::Never);
        let starts = record.starts;
        Report { state, ended, starts }.encode()
    }

    /// Signals the controller of a process that ended, if it has one that lives.
    pub(crate) fn tell_controller(&self, index: usize) {
        for (controller, process) in self.composition.processes.iter().enumerate() {
            let Some(objects) = self.records.objects(controller) else {
                continue;
            };
            let meant = process
                .controls
                .iter()
                .filter(|control| usize::from(control.process) == index);
            for control in meant {
                if let Some(notification) = objects.notifications.get(usize::from(control.notification)) {
                    // A controller that is just ending does not hear it.
                    let _ = notification.signal(1 << (control.bit & 63));
                }
            }
        }
    }
}
