(** Calls, replies, waiting, signals, faults ([specs/ipc.md]). *)
From Ecusson Require Export Step.Sched.

Definition send_slot (w : N) : N := N.land w 0xFFFF.
Definition send_rights (w : N) : N := N.land (N.shiftr w 16) 0xFF.
Definition receive_slot (w : N) : N := N.land (N.shiftr w 32) 0xFFFF.

(** ** Ending calls *)

Definition end_served (c : N) (answered : bool) (s : state) : state :=
  let u := set_run c Held (call_end c answered s) in
  match held_by c u, lent_by c u with
  | None, Some x => let v := take_back c u in
                    match holder_of x u with Some h => fall_back h v | None => v end
  | _, _ => u
  end.
Lemma end_served_prims A c b s : prims A s (end_served c b s).
Proof. unfold end_served, set_run, upd_thr. peel. Qed.
#[global] Hint Resolve end_served_prims : prims.

Definition leave_call (c : N) (answered : bool) (s : state) : state :=
  match get c (calls s) with
  | Some k => match k_phase k with
              | Served => end_served c answered s
              | Queued => set_run c Held (call_end c answered s)
              end
  | None => s
  end.
Lemma leave_call_prims A c b s : prims A s (leave_call c b s).
Proof. unfold leave_call, set_run, upd_thr. peel. Qed.
#[global] Hint Resolve leave_call_prims : prims.

(** Takes a thread out of everything it takes part in: whom it serves gets [Dead]; a faulting caller is ended likewise. *)
Fixpoint retire_in (fuel : nat) (t : N) (s : state) : state :=
  match fuel with
  | O => s
  | S n =>
      let u := upd_thr t (fun v => set_t_faulting false (set_t_receive 0 (set_t_run Inactive v)))
                 (hold t (leave_call t false (cancel_deadline t s))) in
      let_go t
        match caller_of t u with
        | None => u
        | Some c => let v := leave_call c true u in
                    if t_faulting (thr c v) then retire_in n c v else admit c (finish c (error_code Dead) 0 v)
        end
  end.
Lemma retire_in_prims A n t s : prims A s (retire_in n t s).
Proof.
  revert t s. induction n; intros t s; cbn [retire_in]; [constructor|].
  unfold finish, upd_thr, cancel_deadline, upd_thr. peel.
Qed.
#[global] Hint Resolve retire_in_prims : prims.
Definition retire (t : N) (s : state) : state := retire_in 10 t s.
Lemma retire_prims A t s : prims A s (retire t s).
Proof. apply retire_in_prims. Qed.
#[global] Hint Resolve retire_prims : prims.
#[global] Opaque retire.

(** Tells a caller that is in no call any more why. *)
Definition refuse (c : N) (e : error) (s : state) : state :=
  if t_faulting (thr c s) then retire c s else admit c (finish c (error_code e) 0 s).
Definition abort_call (c : N) (e : error) (s : state) : state := refuse c e (leave_call c true s).
Lemma refuse_prims A c e s : prims A s (refuse c e s).
Proof. unfold refuse, finish, upd_thr. peel. Qed.
#[global] Hint Resolve refuse_prims : prims.
Lemma abort_call_prims A c e s : prims A s (abort_call c e s).
Proof. unfold abort_call. peel. Qed.
#[global] Hint Resolve abort_call_prims : prims.

(** ** Calls *)

(** Server of a portal that may be called now, and whether the call lends it the caller's time. *)
Definition callable (c p : N) (s : state) : res (N * bool) :=
  match get p (servers s) with
  | None => Err Dead 0
  | Some v =>
      let donates := negb (p_active (portal_of p s)) && (t_core (thr v s) =? t_core (thr c s)) in
      if negb (Nat.ltb (S (depth c s)) MAX_CALL_DEPTH && is_chain_free MAX_CALL_DEPTH c (Some v) s) then Err TooDeep 0
      else if negb donates && match own_of v s with None => true | Some _ => false end then Err BadState 0
      else Ok (v, donates)
  end.

Definition sendable (t w : N) (s : state) : res unit :=
  if send_slot w =? 0 then Ok tt
  else match cap_at t (N.pred (send_slot w)) s with
       | None => Err BadCap 1
       | Some c => ensure (holds (c_rights c) GRANT) NoRight 1
       end.

(** Whether the capability of a message comes through: the receiver opened an empty slot, the sender may send it, it lives. *)
Definition comes_through (t u w : N) (s : state) : bool :=
  negb (send_slot w =? 0) && negb (t_receive (thr u s) =? 0)
  && match cap_at t (N.pred (send_slot w)) s with Some c => holds (c_rights c) GRANT && live c s | None => false end
  && match empty_slot u (N.pred (t_receive (thr u s))) s with Ok _ => true | Err _ _ => false end.
Definition transfer_cap (t u w : N) (s : state) : state :=
  if comes_through t u w s
  then send_cap t (N.pred (send_slot w)) u (N.pred (t_receive (thr u s))) (send_rights w) s else s.
Definition transfer_status (t u w : N) (s : state) : N := if comes_through t u w s then WITH_CAP else DONE.

Section Message.
  Context (A : label -> Prop) (sends : forall t i u j, A (Sent t i u j)).

  Lemma transfer_cap_prims t u w s : prims A s (transfer_cap t u w s).
  Proof.
    unfold transfer_cap. destruct (comes_through _ _ _ _); [|constructor].
    eapply prims_one; [right; apply sends | constructor].
  Qed.
  Hint Resolve transfer_cap_prims : prims.

  (** Hands a queued call to a server that takes calls: time, label, words, capability. *)
  Definition lend_time (c v : N) (donates : bool) (s : state) : state :=
    if donates then lend c v (let_go v s) else run_own v s.
  Definition deliver (c v label : N) (donates : bool) (s : state) : state :=
    let u := lend_time c v donates (call_serve c s) in
    let w := t_transfer (thr c u) in
    finish v (transfer_status c v w u) label (upd_thr v (set_words (message c u)) (transfer_cap c v w u)).
  Lemma deliver_prims c v label donates s : prims A s (deliver c v label donates s).
  Proof. unfold deliver, lend_time, finish, upd_thr. peel. Qed.
  Hint Resolve deliver_prims : prims.

  Definition begin_call (c v : N) (donates : bool) (p label : N) (s : state) : state :=
    let epoch := match get p (objs s) with Some o => o_epoch o | None => 0 end in
    let u := set_run c Calling (call_begin c v (Cap p Portal CALL epoch) (N.land (t_prio (thr c s)) 31) s) in
    if runs v Waiting s then admit v (deliver c v label donates (cancel_deadline v u)) else u.
  Lemma begin_call_prims c v donates p label s : prims A s (begin_call c v donates p label s).
  Proof. unfold begin_call, set_run, cancel_deadline, upd_thr. peel. Qed.
  Hint Resolve begin_call_prims : prims.

  Definition call (a slot w : N) (s : state) : res state :=
    p <- at_arg 0 (lookup a slot Portal CALL s);;
    u <- sendable a w s;;
    v <- callable a p s;;
    Ok (begin_call a (fst v) (snd v) p (p_label (portal_of p s))
          (open_slot a (receive_slot w) (upd_thr a (set_t_transfer w) s))).
  Lemma call_prims a slot w s t : call a slot w s = Ok t -> prims A s t.
  Proof.
    unfold call, open_slot, upd_thr. destruct (at_arg _ _); [|discriminate]. destruct (sendable _ _ _); [|discriminate].
    destruct (callable _ _ _); [|discriminate]. intros [= <-]. peel.
  Qed.

  (** ** Waiting *)

  Definition first_caller (v : N) (s : state) : option N :=
    let better (a b : option (N * callrec)) :=
      match a, b with
      | None, _ => b
      | _, None => a
      | Some (_, k), Some (_, l) =>
          if (k_level l <? k_level k) || ((k_level l =? k_level k) && (k_stamp k <? k_stamp l)) then a else b
      end in
    let queued := List.filter (fun e => (k_server (snd e) =? v) && match k_phase (snd e) with Queued => true | Served => false end)
                    (elements (calls s)) in
    option_map fst (fold_left (fun best e => better best (Some e)) queued None).

  Definition reply_to (a c w : N) (s : state) : state :=
    let u := transfer_cap a c w s in
    admit c (end_served c true
      (finish c (transfer_status a c w s) 0 (upd_thr c (set_words (firstn 6 (t_regs (thr a s)))) u))).
  Definition reply_fault (a c : N) (s : state) : state :=
    let u := upd_thr c (set_t_faulting false) (end_served c true s) in
    if reg 0 (thr a s) =? 0 then admit c u else retire c u.
  Definition reply_call (a w : N) (s : state) : state :=
    match caller_of a s with
    | None => s
    | Some c => if t_faulting (thr c s) then reply_fault a c s else reply_to a c w s
    end.
  Lemma reply_call_prims a w s : prims A s (reply_call a w s).
  Proof. unfold reply_call, reply_fault, reply_to, finish, upd_thr. peel. Qed.
  Hint Resolve reply_call_prims : prims.

  (** Signals that are pending for a thread, which are taken. *)
  Definition pending (t : N) (s : state) : N :=
    if t_signals (thr t s) then match note_of t s with Some n => bits_of n s | None => 0 end else 0.
  Definition take_signals (t : N) (s : state) : state :=
    if t_signals (thr t s)
    then let u := upd_thr t (set_t_signals false) s in match note_of t s with Some n => set_bits n 0 u | None => u end
    else s.
  Definition wait_until (a : N) (r : run) (deadline : N) (s : state) : state :=
    if negb (deadline =? NO_DEADLINE) && (deadline <=? now s) then finish a EV_DEADLINE 0 s
    else
      let u := if deadline =? NO_DEADLINE then s else upd_thr a (set_t_deadline (Some deadline)) s in
      let keeps := is_run r WaitingSignal && match caller_of a s with Some _ => true | None => false end in
      set_run a r (if keeps then u else let_go a u).
  Lemma wait_until_prims a r deadline s : prims A s (wait_until a r deadline s).
  Proof. unfold wait_until, finish, set_run, upd_thr. peel. Qed.
  Hint Resolve wait_until_prims : prims.

  Definition leave_running (a : N) (s : state) : state := if runs a Running s then admit a (set_run a Held s) else s.
  (** A queued caller whose portal still lives, and for which the preconditions still hold. *)
  Definition still_callable (a c : N) (s : state) : res (bool * N) :=
    match get c (calls s) with
    | None => Err TooDeep 0
    | Some k =>
        if negb (live (k_via k) s && kind_eqb (c_kind (k_via k)) Portal) then Err Dead 0
        else match callable c (c_addr (k_via k)) s with
             | Ok (v, donates) => if v =? a then Ok (donates, p_label (portal_of (c_addr (k_via k)) s)) else Err TooDeep 0
             | Err _ _ => Err TooDeep 0
             end
    end.
  Definition serve (a c : N) (donates : bool) (label : N) (s : state) : state := leave_running a (deliver c a label donates s).
  Lemma serve_prims a c donates label s : prims A s (serve a c donates label s).
  Proof. unfold serve, leave_running, set_run, upd_thr. peel. Qed.
  Hint Resolve serve_prims : prims.

  Fixpoint take_callers (fuel : nat) (a deadline : N) (s : state) : state :=
    match first_caller a s with
    | None => wait_until a Waiting deadline s
    | Some c =>
        match fuel with
        | O => finish a EV_PROGRESS 0 s
        | S n => match still_callable a c s with
                 | Ok (donates, label) => serve a c donates label s
                 | Err e _ => take_callers n a deadline (abort_call c e s)
                 end
        end
    end.
  Lemma take_callers_prims n a deadline s : prims A s (take_callers n a deadline s).
  Proof.
    revert s. induction n; intro s; cbn [take_callers]; unfold finish, upd_thr; peel.
  Qed.
  Hint Resolve take_callers_prims : prims.

  Definition wait_for_call (a deadline : N) (s : state) : state :=
    if pending a s =? 0 then take_callers STALE_CALLERS a deadline (take_signals a s)
    else finish a EV_SIGNAL (pending a s) (take_signals a s).
  Definition reply_wait (a deadline w : N) (s : state) : state :=
    wait_for_call a deadline (open_slot a (receive_slot w) (reply_call a w s)).
  Lemma take_signals_prims t s : prims A s (take_signals t s).
  Proof. unfold take_signals, upd_thr. peel. Qed.
  Hint Resolve take_signals_prims : prims.
  Lemma reply_wait_prims a deadline w s : prims A s (reply_wait a deadline w s).
  Proof. unfold reply_wait, wait_for_call, open_slot, finish, upd_thr. peel. Qed.

  Definition wait (a deadline : N) (s : state) : state :=
    if pending a s =? 0 then wait_until a WaitingSignal deadline (take_signals a s)
    else finish a EV_SIGNAL (pending a s) (take_signals a s).
  Lemma wait_prims a deadline s : prims A s (wait a deadline s).
  Proof. unfold wait, finish, upd_thr. peel. Qed.

  (** ** Faults: a call made in the thread's name *)
  Definition handler_of (a : N) (s : state) : option N :=
    match t_handler (thr a s) with
    | Some c => if live c s then Some (c_addr c) else None
    | None => None
    end.
  Definition fault (a : N) (report : N * N * N) (s : state) : state :=
    let u := upd_thr a (fun v => set_t_fault report (set_t_faulting true (set_t_transfer 0 (set_t_receive 0 v)))) s in
    match handler_of a u with
    | None => retire a u
    | Some p => match callable a p u with
                | Ok (v, donates) => begin_call a v donates p (p_label (portal_of p u)) u
                | Err _ _ => retire a u
                end
    end.
  Lemma fault_prims a report s : prims A s (fault a report s).
  Proof. unfold fault, upd_thr. peel. Qed.
End Message.

(** ** Signals *)

Definition signal (n b : N) (s : state) : state :=
  let all := N.lor (bits_of n s) b in
  let u := set_bits n all s in
  match get n (bound s) with
  | None => u
  | Some w =>
      if all =? 0 then u
      else if runs w Waiting u || runs w WaitingSignal u
           then admit w (finish w EV_SIGNAL all (set_bits n 0 (cancel_deadline w u)))
           else upd_thr w (set_t_signals true) u
  end.
Lemma signal_prims A n b s : prims A s (signal n b s).
Proof. unfold signal, finish, cancel_deadline, upd_thr. peel. Qed.
#[global] Hint Resolve signal_prims : prims.
Definition unbind_notification (n : N) (s : state) : state :=
  match get n (bound s) with
  | None => s
  | Some w => upd_thr w (set_t_signals false) (unbind_note n s)
  end.
Lemma unbind_notification_prims A n s : prims A s (unbind_notification n s).
Proof. unfold unbind_notification, upd_thr. peel. Qed.
#[global] Hint Resolve unbind_notification_prims : prims.
