(** What all handlers use: results, look-up, changes of a thread's attributes. Nothing here is a primitive change of its own. *)
From Ecusson Require Export Prim.

(** A check passes with something or fails with an error and the argument at fault. *)
Inductive res (A : Type) := Ok (a : A) | Err (e : error) (arg : N).
Arguments Ok {A}. Arguments Err {A}.
Notation "x <- e ;; k" := (match e with Ok x => k | Err er arg => Err er arg end)
  (at level 100, e at next level, right associativity).
Definition ensure (b : bool) (e : error) (arg : N) : res unit := if b then Ok tt else Err e arg.
Definition at_arg {A} (arg : N) (r : res A) : res A := match r with Ok a => Ok a | Err e _ => Err e arg end.

(** What an operation answers; [Refused] is the one failure that changes something ([Busy] of [Thread.start]). *)
Inductive reply := RDone (v : N) | RProgress (v : N) | RWords (v : N) (words : list N) | RGone | RRefused (e : error) (arg : N).
Definition outcome := res (reply * state).

Definition set_t_run (v : run) (r : thread) : thread := MkThread v (t_core r) (t_stopped r) (t_faulting r) (t_signals r) (t_prio r) (t_own_prio r) (t_receive r) (t_transfer r) (t_deadline r) (t_handler r) (t_fault r) (t_regs r).
Definition set_t_core (v : N) (r : thread) : thread := MkThread (t_run r) v (t_stopped r) (t_faulting r) (t_signals r) (t_prio r) (t_own_prio r) (t_receive r) (t_transfer r) (t_deadline r) (t_handler r) (t_fault r) (t_regs r).
Definition set_t_stopped (v : bool) (r : thread) : thread := MkThread (t_run r) (t_core r) v (t_faulting r) (t_signals r) (t_prio r) (t_own_prio r) (t_receive r) (t_transfer r) (t_deadline r) (t_handler r) (t_fault r) (t_regs r).
Definition set_t_faulting (v : bool) (r : thread) : thread := MkThread (t_run r) (t_core r) (t_stopped r) v (t_signals r) (t_prio r) (t_own_prio r) (t_receive r) (t_transfer r) (t_deadline r) (t_handler r) (t_fault r) (t_regs r).
Definition set_t_signals (v : bool) (r : thread) : thread := MkThread (t_run r) (t_core r) (t_stopped r) (t_faulting r) v (t_prio r) (t_own_prio r) (t_receive r) (t_transfer r) (t_deadline r) (t_handler r) (t_fault r) (t_regs r).
Definition set_t_prio (v : N) (r : thread) : thread := MkThread (t_run r) (t_core r) (t_stopped r) (t_faulting r) (t_signals r) v (t_own_prio r) (t_receive r) (t_transfer r) (t_deadline r) (t_handler r) (t_fault r) (t_regs r).
Definition set_t_own_prio (v : N) (r : thread) : thread := MkThread (t_run r) (t_core r) (t_stopped r) (t_faulting r) (t_signals r) (t_prio r) v (t_receive r) (t_transfer r) (t_deadline r) (t_handler r) (t_fault r) (t_regs r).
Definition set_t_receive (v : N) (r : thread) : thread := MkThread (t_run r) (t_core r) (t_stopped r) (t_faulting r) (t_signals r) (t_prio r) (t_own_prio r) v (t_transfer r) (t_deadline r) (t_handler r) (t_fault r) (t_regs r).
Definition set_t_transfer (v : N) (r : thread) : thread := MkThread (t_run r) (t_core r) (t_stopped r) (t_faulting r) (t_signals r) (t_prio r) (t_own_prio r) (t_receive r) v (t_deadline r) (t_handler r) (t_fault r) (t_regs r).
Definition set_t_deadline (v : option N) (r : thread) : thread := MkThread (t_run r) (t_core r) (t_stopped r) (t_faulting r) (t_signals r) (t_prio r) (t_own_prio r) (t_receive r) (t_transfer r) v (t_handler r) (t_fault r) (t_regs r).
Definition set_t_handler (v : option cap) (r : thread) : thread := MkThread (t_run r) (t_core r) (t_stopped r) (t_faulting r) (t_signals r) (t_prio r) (t_own_prio r) (t_receive r) (t_transfer r) (t_deadline r) v (t_fault r) (t_regs r).
Definition set_t_fault (v : N * N * N) (r : thread) : thread := MkThread (t_run r) (t_core r) (t_stopped r) (t_faulting r) (t_signals r) (t_prio r) (t_own_prio r) (t_receive r) (t_transfer r) (t_deadline r) (t_handler r) v (t_regs r).
Definition set_t_regs (v : list N) (r : thread) : thread := MkThread (t_run r) (t_core r) (t_stopped r) (t_faulting r) (t_signals r) (t_prio r) (t_own_prio r) (t_receive r) (t_transfer r) (t_deadline r) (t_handler r) (t_fault r) v.
Definition set_x_budget (v : N) (r : context) : context := MkContext v (x_period r) (x_window r) (x_used r) (x_total r) (x_weight r) (x_core r) (x_prio r) (x_armed r).
Definition set_x_period (v : N) (r : context) : context := MkContext (x_budget r) v (x_window r) (x_used r) (x_total r) (x_weight r) (x_core r) (x_prio r) (x_armed r).
Definition set_x_window (v : N) (r : context) : context := MkContext (x_budget r) (x_period r) v (x_used r) (x_total r) (x_weight r) (x_core r) (x_prio r) (x_armed r).
Definition set_x_used (v : N) (r : context) : context := MkContext (x_budget r) (x_period r) (x_window r) v (x_total r) (x_weight r) (x_core r) (x_prio r) (x_armed r).
Definition set_x_total (v : N) (r : context) : context := MkContext (x_budget r) (x_period r) (x_window r) (x_used r) v (x_weight r) (x_core r) (x_prio r) (x_armed r).
Definition set_x_weight (v : N) (r : context) : context := MkContext (x_budget r) (x_period r) (x_window r) (x_used r) (x_total r) v (x_core r) (x_prio r) (x_armed r).
Definition set_x_core (v : N) (r : context) : context := MkContext (x_budget r) (x_period r) (x_window r) (x_used r) (x_total r) (x_weight r) v (x_prio r) (x_armed r).
Definition set_x_prio (v : N) (r : context) : context := MkContext (x_budget r) (x_period r) (x_window r) (x_used r) (x_total r) (x_weight r) (x_core r) v (x_armed r).
Definition set_x_armed (v : option N) (r : context) : context := MkContext (x_budget r) (x_period r) (x_window r) (x_used r) (x_total r) (x_weight r) (x_core r) (x_prio r) v.

Definition upd_thr (t : N) (f : thread -> thread) (s : state) : state := set_thr t (f (thr t s)) s.
Definition upd_ctx (x : N) (f : context -> context) (s : state) : state := set_ctx x (f (ctx x s)) s.
Definition set_run (t : N) (r : run) (s : state) : state := upd_thr t (set_t_run r) s.
Definition open_slot (t v : N) (s : state) : state := upd_thr t (set_t_receive v) s.

Fixpoint put (i : nat) (v : N) (l : list N) : list N :=
  match l, i with [], _ => [] | _ :: r, O => v :: r | h :: r, S n => h :: put n v r end.
Definition reg (i : nat) (v : thread) : N := nth i (t_regs v) 0.
Definition word (i : nat) (words : list N) : N := nth i words 0.
(** Registers, in the order of [Thread.peek]: 0 to 5 the message words, 6 rax, 7 rdx, 8 rdi, 9 rsi, 15 rflags, 16 rip, 17 rsp. *)
Definition set_words (words : list N) (v : thread) : thread :=
  set_t_regs (firstn 6 words ++ skipn 6 (t_regs v)) v.
(** The result of the system call that a thread is in; closes the slot it may have opened. *)
Definition finish (t status second : N) (s : state) : state :=
  upd_thr t (fun v => set_t_receive 0 (set_t_regs (put 6 status (put 7 second (t_regs v))) v)) s.
(** The words a thread sends: its message registers, or the fault. *)
Definition message (t : N) (s : state) : list N :=
  let v := thr t s in
  if t_faulting v
  then let '(vector, code, address) := t_fault v in [FAULT_WORD + vector; code; address; reg 16 v; reg 17 v; 0]
  else firstn 6 (t_regs v).

Definition is_run (r q : run) : bool :=
  match r, q with
  | Inactive, Inactive | Running, Running | Ready, Ready | Held, Held | Waiting, Waiting
  | WaitingSignal, WaitingSignal | Calling, Calling => true
  | _, _ => false
  end.
Definition runs (t : N) (r : run) (s : state) : bool := is_run (t_run (thr t s)) r.
Definition is_current (t : N) (s : state) : bool :=
  match r_current (core_of (t_core (thr t s)) s) with Some c => c =? t | None => false end.

(** From a slot to an object: presence, kind, rights, liveness, in this order. *)
Definition lookup (t slot : N) (k : kind) (needed : rights) (s : state) : res N :=
  match cap_at t slot s with
  | None => Err BadCap 0
  | Some c =>
      if negb (kind_eqb (c_kind c) k) then Err BadType 0
      else if negb (holds (c_rights c) needed) then Err NoRight 0
      else if negb (live c s) then Err Dead 0
      else Ok (c_addr c)
  end.
Definition empty_slot (t slot : N) (s : state) : res unit :=
  if negb (slot <? table_size (domain_of t s) s) then Err BadCap 0
  else match cap_at t slot s with None => Ok tt | Some _ => Err Occupied 0 end.
Definition require (held needed : rights) : res unit := ensure (holds held needed) NoRight 0.

(** ** Sequences of changes, peeled from the last to the first *)

#[global] Hint Constructors prim : prims.
#[global] Hint Resolve prims_refl : prims.

Lemma prims_quiet A s t : prim Quiet s t -> prims A s t.
Proof. intro. eapply prims_one; eauto. Qed.
#[global] Hint Resolve prims_quiet : prims.

Ltac split_match :=
  match goal with
  | |- prims _ _ ?t => match t with context [match ?x with _ => _ end] => destruct x eqn:? end
  end.
Ltac peel1 :=
  match goal with
  | |- prims _ ?s ?s => apply prims_refl
  | |- prims _ ?s ?t => solve [eauto 3 with prims]
  | |- prims _ ?s (match ?x with _ => _ end) => destruct x eqn:?
  | |- prims _ ?s (?f ?u) => eapply (prims_trans _ _ u); [ | solve [eauto 3 with prims] ]
  end.
Ltac peel := cbv zeta; repeat (peel1; cbv zeta; try subst).
