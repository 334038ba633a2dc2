(** Time: who may run, budgets, deadlines ([specs/scheduling.md]). The choice of the next thread is a relation: [schedule] takes
    the thread that was chosen and says whether the choice was allowed. *)
From Ecusson Require Export Step.Pages.

Definition is_limited (v : context) : bool := x_budget v <? x_period v.
Definition is_depleted (v : context) : bool := is_limited v && (x_budget v <=? x_used v).
(** Begins a new period if the current one is over. *)
Definition roll (now : N) (v : context) : context :=
  let elapsed := now - x_window v in
  if negb (x_period v =? 0) && (x_period v <=? elapsed)
  then set_x_used 0 (set_x_window (now - elapsed mod x_period v) v) else v.
(** Charges time that ended now; what lies before the current period counts for the past one. *)
Definition charge (ticks now : N) (v : context) : context :=
  let w := roll now (set_x_total (x_total v + ticks) (set_x_used (x_used v + ticks) v)) in
  if x_used w =? 0 then set_x_used (N.min ticks (now - x_window w)) w else w.

(** A kernel entry begins: whoever ran is charged. *)
Definition charge_current (i at_ : N) (s : state) : state :=
  match r_current (core_of i s) with
  | Some t => match held_by t s with
              | Some x => upd_ctx x (charge (at_ - r_charged (core_of i s)) at_) s
              | None => s
              end
  | None => s
  end.
Definition set_charged (i at_ : N) (s : state) : state :=
  let c := core_of i s in set_clock i at_ (r_loaded c) (r_wanted c) (r_flushed c) s.
Definition enter (i at_ : N) (s : state) : state :=
  set_charged i at_ (charge_current i at_ (with_now at_ s)).
Lemma enter_prims A i at_ s : prims A s (enter i at_ s).
Proof. unfold enter, set_charged, charge_current, upd_ctx. peel. Qed.
#[global] Hint Resolve enter_prims : prims.

Definition arm (x : N) (s : state) : state :=
  match x_armed (ctx x s) with
  | Some _ => s
  | None => upd_ctx x (fun v => set_x_armed (Some (x_window v + x_period v)) v) s
  end.
Lemma arm_prims A x s : prims A s (arm x s).
Proof. unfold arm, upd_ctx. peel. Qed.
#[global] Hint Resolve arm_prims : prims.

(** A thread, held until now, becomes ready if it is not stopped and holds a context with budget left. *)
Definition make_eligible (t : N) (s : state) : state :=
  if t_stopped (thr t s) then s
  else match held_by t s with
       | None => s
       | Some x => let u := upd_ctx x (roll (now s)) s in
                   if is_depleted (ctx x u) then arm x u else set_run t Ready u
       end.
Lemma make_eligible_prims A t s : prims A s (make_eligible t s).
Proof. unfold make_eligible, upd_ctx, set_run, upd_thr. peel. Qed.
#[global] Hint Resolve make_eligible_prims : prims.

(** The higher of a thread's own priority and that of a caller who lent it time. *)
Definition same_option (a b : option N) : bool :=
  match a, b with Some x, Some y => x =? y | None, None => true | _, _ => false end.
Definition renew_priority (t : N) (s : state) : state :=
  let is_lent := negb (same_option (held_by t s) (own_of t s)) in
  let lent := if is_lent then match caller_of t s with Some c => t_prio (thr c s) | None => 0 end else 0 in
  upd_thr t (fun v => set_t_prio (N.max (t_own_prio v) lent) v) s.
Definition take_own (t : N) (s : state) : state := match held_by t s with Some _ => s | None => run_own t s end.

(** A thread that waits for nothing any more: ready, or held if it may not run. *)
Definition admit (t : N) (s : state) : state :=
  make_eligible t (set_run t Held (renew_priority t (take_own t s))).
Lemma admit_prims A t s : prims A s (admit t s).
Proof. unfold admit, renew_priority, take_own, set_run, upd_thr. peel. Qed.
#[global] Hint Resolve admit_prims : prims.

(** Takes a thread off the processor or out of the ready ones. *)
Definition hold (t : N) (s : state) : state :=
  if runs t Ready s || runs t Running s then set_run t Held s else s.
Lemma hold_prims A t s : prims A s (hold t s).
Proof. unfold hold, set_run, upd_thr. peel. Qed.
#[global] Hint Resolve hold_prims : prims.

(** A thread that lost the time it ran on goes on with its own, if it has some. *)
Definition fall_back (t : N) (s : state) : state :=
  if runs t Ready s || runs t Held s then admit t s
  else if runs t Running s
  then let u := renew_priority t (take_own t s) in
       match held_by t u with Some _ => u | None => set_run t Held u end
  else s.
Lemma fall_back_prims A t s : prims A s (fall_back t s).
Proof. unfold fall_back, renew_priority, take_own, set_run, upd_thr. peel. Qed.
#[global] Hint Resolve fall_back_prims : prims.

Definition cancel_deadline (t : N) (s : state) : state := upd_thr t (set_t_deadline None) s.
Definition cancel_replenishment (x : N) (s : state) : state := upd_ctx x (set_x_armed None) s.

(** After a change of a context's parameters: its holder's place is computed anew. *)
Definition reconsider (x : N) (s : state) : state :=
  match holder_of x s with
  | None => s
  | Some t => if runs t Ready s || runs t Held s then admit t s else renew_priority t s
  end.
Lemma reconsider_prims A x s : prims A s (reconsider x s).
Proof. unfold reconsider, renew_priority, upd_thr. peel. Qed.
#[global] Hint Resolve reconsider_prims : prims.

(** ** The choice *)

Definition put_back (i : N) (s : state) : state :=
  match r_current (core_of i s) with
  | Some t => if runs t Running s then make_eligible t (set_run t Held s) else s
  | None => s
  end.
Lemma put_back_prims A i s : prims A s (put_back i s).
Proof. unfold put_back, set_run, upd_thr. peel. Qed.
#[global] Hint Resolve put_back_prims : prims.

Definition is_ready_on (i : N) (v : thread) : bool := is_run (t_run v) Ready && (t_core v =? i).
(** Whether a thread may be chosen: it is ready, and nobody ready on the core has a higher priority. None: nobody is ready. *)
Definition may_choose (i : N) (choice : option N) (s : state) : bool :=
  match choice with
  | Some t => is_ready_on i (thr t s) && has t (threads s)
              && negb (any (fun _ v => is_ready_on i v && (t_prio (thr t s) <? t_prio v)) (threads s))
  | None => negb (any (fun _ v => is_ready_on i v) (threads s))
  end.
Definition run_next (i : N) (choice : option N) (s : state) : state :=
  set_current i choice (match choice with Some t => set_run t Running s | None => s end).
(** The core's next thread; [None] if the choice is not allowed. *)
Definition schedule (i : N) (choice : option N) (s : state) : option state :=
  let t := put_back i s in if may_choose i choice t then Some (run_next i choice t) else None.
Lemma schedule_prims A i choice s t : schedule i choice s = Some t -> prims A s t.
Proof.
  unfold schedule, run_next, set_run, upd_thr. destruct (may_choose _ _ _); [intros [= <-]|discriminate]. peel.
Qed.
