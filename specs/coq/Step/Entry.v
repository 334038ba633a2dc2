(** Entries of the kernel: system calls, faults, timers, and the machine's own steps; one total function each. *)
From Ecusson Require Export Step.Objects.

Definition identity (c : cap) : N := kind_code (c_kind c) + N.shiftl (c_rights c) 8.
Definition operate (a : N) (c : cap) (w : list N) (s : state) : outcome :=
  let o := c_addr c in
  let held := c_rights c in
  match c_kind c with
  | Memory => memory_op a o held w s
  | Region => region_op a o held w s
  | Space => space_op a o held w s
  | ProtectionDomain => domain_op a o held w s
  | Thread => thread_op a o held w s
  | SchedContext => context_op a o held w s
  | Portal => portal_op o held w s
  | Platform => platform_op a held w s
  | Notification => Err BadArg 0
  | Vcpu | Interrupt | Ports => Err Unsupported 0
  end.
Definition invoke (a slot : N) (w : list N) (s : state) : outcome :=
  match cap_at a slot s with
  | None => Err BadCap 0
  | Some c =>
      if word 0 w =? OP_DESTROY then destroy c s
      else if negb (live c s) then Err Dead 0
      else if word 0 w =? OP_IDENTIFY then Ok (RDone (identity c), s)
      else operate a c w s
  end.
Definition signal_slot (a slot b : N) (s : state) : outcome :=
  n <- at_arg 0 (lookup a slot Notification SIGNAL s);; Ok (RDone 0, signal n b s).

(** A system call of thread [a]: its number, rdi, rsi, the message words. *)
Record request := Request { q_number : N; q_first : N; q_second : N; q_words : list N }.
Definition operation (a : N) (q : request) (s : state) : outcome :=
  match q_number q with
  | 0 => match call a (q_first q) (q_second q) s with Ok t => Ok (RGone, t) | Err e n => Err e n end
  | 1 => Ok (RGone, reply_wait a (q_first q) (q_second q) s)
  | 2 => signal_slot a (q_first q) (word 0 (q_words q)) s
  | 3 => Ok (RGone, wait a (q_first q) s)
  | 4 => invoke a (q_first q) (q_words q) s
  | 5 => Err Unsupported 0
  | 6 | 7 => Ok (RDone 0, s)
  | _ => Err BadArg 0
  end.

Definition answer (a : N) (r : outcome) (s : state) : state :=
  match r with
  | Err e n => finish a (error_code e) n s
  | Ok (RDone v, t) => finish a DONE v t
  | Ok (RProgress v, t) => finish a EV_PROGRESS v t
  | Ok (RWords v words, t) => finish a DONE v (upd_thr a (set_words words) t)
  | Ok (RGone, t) => t
  | Ok (RRefused e n, t) => finish a (error_code e) n t
  end.
Definition load (a : N) (q : request) (s : state) : state :=
  upd_thr a (fun v => set_words (q_words q) (set_t_regs (put 6 (q_number q) (put 8 (q_first q) (put 9 (q_second q) (t_regs v)))) v)) s.

Inductive due := DueThread (t : N) | DueContext (x : N).
Definition is_due (d : due) (s : state) : bool :=
  match d with
  | DueThread t => match t_deadline (thr t s) with Some k => k <=? now s | None => false end
  | DueContext x => match x_armed (ctx x s) with Some k => k <=? now s | None => false end
  end.
Definition expire (s : state) (d : due) : state :=
  if negb (is_due d s) then s
  else match d with
       | DueThread t => admit t (finish t EV_DEADLINE 0 (cancel_deadline t s))
       | DueContext x =>
           let u := upd_ctx x (roll (now s)) (cancel_replenishment x s) in
           match holder_of x u with
           | Some h => if runs h Held u then admit h u else u
           | None => u
           end
       end.

(** What can happen on a core. [Flushed] and [Loaded] are the machine's: a flush that was wanted is done; the processor has
    another root table. *)
Inductive action :=
  | Syscall (q : request)
  | Fault (vector code address : N)
  | Timer (due : list due)
  | Reschedule
  | Flushed
  | Loaded (space : option N).

(** Whose entry it is: the core's current thread, unless it was stopped meanwhile. *)
Definition actor (i : N) (s : state) : option N :=
  match r_current (core_of i s) with Some a => if runs a Running s then Some a else None | None => None end.

Definition load_current (i : N) (x : action) (s : state) : state :=
  match x, r_current (core_of i s) with Syscall q, Some a => load a q s | _, _ => s end.
Definition exec (i : N) (x : action) (s : state) : state :=
  match x with
  | Syscall q => match actor i s with Some a => answer a (operation a q s) s | None => s end
  | Fault v c n => match actor i s with Some a => fault a (v, c, n) s | None => s end
  | Timer l => fold_left expire l s
  | Reschedule => s
  | Flushed => let c := core_of i s in set_clock i (r_charged c) (r_loaded c) (r_wanted c) (r_wanted c) s
  | Loaded sp => let c := core_of i s in set_clock i (r_charged c) sp (r_wanted c) (r_flushed c) s
  end.
(** The entry before the next thread is chosen. *)
Definition enter_exec (i at_ : N) (x : action) (s : state) : state :=
  match x with
  | Flushed | Loaded _ => exec i x s
  | _ => exec i x (load_current i x (enter i at_ s))
  end.
(** One step: core, time, what happens, and who was chosen to run next. [None]: this choice is not allowed. *)
Definition step (i at_ : N) (x : action) (choice : option N) (s : state) : option state :=
  let t := enter_exec i at_ x s in
  match x with Flushed | Loaded _ => Some t | _ => schedule i choice t end.

(** ** Which labels an entry permits *)

Definition before (i at_ : N) (x : action) (s : state) : state :=
  match x with Flushed | Loaded _ => s | _ => load_current i x (enter i at_ s) end.
Definition permits (i : N) (x : action) (s : state) (l : label) : Prop :=
  match actor i s, x, l with
  | Some a, Syscall q, Created d _ => q_number q = 4 /\ d = domain_of a s
  | Some a, Syscall q, Granted d j e k =>
      q_number q = 4 /\ word 0 (q_words q) = 1 /\ lookup a (q_first q) ProtectionDomain MANAGE s = Ok e
      /\ d = domain_of a s /\ j = word 1 (q_words q) /\ k = word 2 (q_words q)
  | Some a, Syscall q, Sent _ _ _ _ => q_number q = 0 \/ q_number q = 1
  | Some a, Fault _ _ _, Sent _ _ _ _ => True
  | _, _, _ => False
  end.

(** ** Every step is a sequence of primitive changes that it permits *)

Lemma created_prims (A : label -> Prop) d i s t : A (Created d i) -> prim (Created d i) s t -> prims A s t.
Proof. intros. eapply prims_one; eauto. Qed.

Section Creation.
  Context (A : label -> Prop) (d : N) (creates : forall i, A (Created d i)).
  Lemma simple_prims a b i r t : prims A t (new_simple a b d i r t).
  Proof. eapply created_prims; [apply creates|constructor]. Qed.
  Lemma upper_prims u m first pages a i t : prims A t (new_upper u m first pages a d i t).
  Proof. eapply created_prims; [apply creates|constructor]. Qed.
  Lemma slice_prims parent first pages a i r t : prims A t (new_slice parent first pages a d i r t).
  Proof. eapply created_prims; [apply creates|constructor]. Qed.
  Lemma device_prims first pages a i t : prims A t (new_device first pages a d i t).
  Proof. eapply created_prims; [apply creates|constructor]. Qed.
  Hint Resolve simple_prims upper_prims slice_prims device_prims : prims.

  Lemma make_small_prims m make s : (forall a t, prims A t (make a t)) -> prims A s (make_small m make s).
  Proof.
    intro H. unfold make_small. destruct (take_small m s) as [[a t]|] eqn:E; [|constructor].
    eapply prims_trans; [eapply take_small_prims; exact E|apply H].
  Qed.
  Lemma split_off_prims u m first pages i a t : prims A t (split_off u m first pages d i a t).
  Proof. unfold split_off. peel. Qed.
  Lemma new_child_prims parent first pages i q a t : prims A t (new_child parent first pages d i q a t).
  Proof. unfold new_child, set_scrubbed. peel. Qed.
  Lemma new_space_prims m i dma a t : prims A t (new_space m d i dma a t).
  Proof.
    unfold new_space, init_space. destruct dma; [peel|]. destruct (take_page _ _ _) as [[p u]|] eqn:E; [|peel].
    apply (prims_trans _ _ u); [|peel]. eapply prims_trans; [|eapply take_page_prims; exact E]. peel.
  Qed.
  Lemma take_table_pages_prims n m a t : prims A t (take_table_pages n m a t).
  Proof. revert t. induction n; intro t; cbn [take_table_pages]; [constructor|]. eapply prims_trans; [|apply IHn]. peel. Qed.
  Hint Resolve take_table_pages_prims : prims.
  Lemma new_domain_prims m pages sp i t : prims A t (new_domain m pages sp d i t).
  Proof. unfold new_domain. peel. Qed.
  Lemma new_thread_prims m domain c i t : prims A t (new_thread m domain c d i t).
  Proof. unfold new_thread. destruct (take_page _ _ _) as [[p u]|] eqn:E; peel. Qed.
  Lemma new_portal_prims server label active i a t : prims A t (new_portal server label active d i a t).
  Proof. unfold new_portal. peel. Qed.
  Lemma new_context_prims i a t : prims A t (new_context d i a t).
  Proof. unfold new_context. peel. Qed.
  Lemma new_notification_prims i a t : prims A t (new_notification d i a t).
  Proof. unfold new_notification. peel. Qed.
  Lemma new_device_prims first pages i a t : prims A t (new_device_region first pages d i a t).
  Proof. unfold new_device_region, set_scrubbed. peel. Qed.
End Creation.
#[global] Hint Resolve make_small_prims split_off_prims new_child_prims new_space_prims new_domain_prims new_thread_prims
  new_portal_prims new_context_prims new_notification_prims new_device_prims : prims.

(** Goes through the checks of a handler: each failure contradicts its success. *)
Ltac passed :=
  match goal with
  | |- Err _ _ = _ -> _ => discriminate
  | |- match ?x with _ => _ end = _ -> _ => destruct x eqn:?; try discriminate
  end.
Ltac commit := intros [= <- <-]; cbv zeta; peel.
Ltac handler := repeat (cbv zeta; passed); try commit.

Section Operations.
  Context (A : label -> Prop) (a : N) (s : state) (creates : forall i, A (Created (domain_of a s) i)).

  Lemma create_prims m w rep t : create a m w s = Ok (rep, t) -> prims A s t.
  Proof.
    unfold create, create_region, create_space, create_domain, create_thread, create_portal, create_plain. handler.
  Qed.
  Lemma reclaim_prims m rep t : reclaim m s = Ok (rep, t) -> prims A s t.
  Proof.
    unfold reclaim. destruct (body_of m s) as [[? ? ? ? primal| | | | | | | |]|]; try discriminate.
    destruct primal; [discriminate|]. cbv zeta. generalize SWEEP_PAGES. intros n E.
    assert (t = snd (rep, t)) as -> by reflexivity. injection E as <-. apply sweep_pages_prims.
  Qed.
  Lemma memory_op_prims m held w rep t : memory_op a m held w s = Ok (rep, t) -> prims A s t.
  Proof.
    unfold memory_op, split. handler; eauto using create_prims, reclaim_prims.
  Qed.
  Lemma region_op_prims r held w rep t : region_op a r held w s = Ok (rep, t) -> prims A s t.
  Proof. unfold region_op, slice, scrub, set_scrubbed. handler; eauto using attach_prims. Qed.
  Lemma space_op_prims r held w rep t : space_op a r held w s = Ok (rep, t) -> prims A s t.
  Proof. unfold space_op, fund. handler. Qed.
  Lemma domain_op_prims d held w rep t :
    (word 0 w = 1 -> A (Granted (domain_of a s) (word 1 w) d (word 2 w))) ->
    domain_op a d held w s = Ok (rep, t) -> prims A s t.
  Proof.
    intro G. unfold domain_op, grant. handler.
    eapply prims_one; [right; apply G; assumption || reflexivity | constructor].
  Qed.
  Lemma thread_op_prims x held w rep t : thread_op a x held w s = Ok (rep, t) -> prims A s t.
  Proof.
    unfold thread_op. destruct (require _ _); [|discriminate].
    destruct (word 0 w) as [|[[[]|[]|]|[[]|[[]|[]|]|]|]]; try discriminate; try (commit; fail);
      try (apply start_prims); unfold set_fault_handler, peek, poke, bind_thread, upd_thr; handler.
  Qed.
  Lemma context_op_prims x held w rep t : context_op a x held w s = Ok (rep, t) -> prims A s t.
  Proof.
    unfold context_op, configure, bind_context, take_priority, move_thread, upd_thr. handler.
  Qed.
  Lemma portal_op_prims x held w rep t : portal_op x held w s = Ok (rep, t) -> prims A s t.
  Proof. unfold portal_op. handler. Qed.
  Lemma platform_op_prims held w rep t : platform_op a held w s = Ok (rep, t) -> prims A s t.
  Proof. unfold platform_op, mmio. handler. Qed.
  Lemma destroy_prims c rep t : destroy c s = Ok (rep, t) -> prims A s t.
  Proof. unfold destroy. handler. Qed.
End Operations.

Lemma invoke_prims (A : label -> Prop) a slot w s rep t :
  (forall i, A (Created (domain_of a s) i)) ->
  (forall d, lookup a slot ProtectionDomain MANAGE s = Ok d -> word 0 w = 1 -> A (Granted (domain_of a s) (word 1 w) d (word 2 w))) ->
  invoke a slot w s = Ok (rep, t) -> prims A s t.
Proof.
  intros creates grants. unfold invoke. destruct (cap_at a slot s) as [c|] eqn:C; [|discriminate].
  destruct (_ =? OP_DESTROY); [apply destroy_prims|]. destruct (live c s) eqn:L; [|discriminate]. cbn [negb].
  destruct (_ =? OP_IDENTIFY); [commit|]. unfold operate.
  destruct (c_kind c) eqn:K; try discriminate;
    eauto using memory_op_prims, region_op_prims, space_op_prims, thread_op_prims, context_op_prims, portal_op_prims, platform_op_prims.
  intro E. eapply domain_op_prims; [|exact E]. intro W. apply grants; [|exact W].
  unfold domain_op in E. destruct (require _ _) as [[]|] eqn:R; [|discriminate].
  unfold require, ensure in R. destruct (holds _ _) eqn:H; [|discriminate].
  unfold lookup. rewrite C, K, H, L. reflexivity.
Qed.

Lemma operation_prims (A : label -> Prop) a q s rep t :
  (q_number q = 4 -> forall i, A (Created (domain_of a s) i)) ->
  (forall d, q_number q = 4 -> lookup a (q_first q) ProtectionDomain MANAGE s = Ok d -> word 0 (q_words q) = 1 ->
     A (Granted (domain_of a s) (word 1 (q_words q)) d (word 2 (q_words q)))) ->
  (q_number q = 0 \/ q_number q = 1 -> forall t i u j, A (Sent t i u j)) ->
  operation a q s = Ok (rep, t) -> prims A s t.
Proof.
  intros creates grants sends. unfold operation.
  destruct (q_number q) as [|[[[]|[]|]|[[]|[]|]|]] eqn:N; try discriminate.
  all: try (intros [= <- <-]; solve [apply prims_refl | apply wait_prims | apply reply_wait_prims; auto]).
  all: try (eapply invoke_prims; eauto; fail).
  all: try (unfold signal_slot; handler; fail).
  destruct (call _ _ _ _) eqn:C; [|discriminate]. intros [= <- <-]. eapply call_prims; eauto.
Qed.

Lemma answer_prims A a r s : (forall rep t, r = Ok (rep, t) -> prims A s t) -> prims A s (answer a r s).
Proof.
  intro H. unfold answer, finish, upd_thr. destruct r as [[[] t]|]; try (specialize (H _ _ eq_refl)); try (eapply prims_trans; [exact H|]); peel.
Qed.
Lemma expire_prims A s d : prims A s (expire s d).
Proof. unfold expire, finish, cancel_deadline, cancel_replenishment, upd_thr, upd_ctx. peel. Qed.
Lemma before_prims A i at_ x s : prims A s (before i at_ x s).
Proof. unfold before, load_current, load, upd_thr. peel. Qed.

(** Everything a step does, it does by primitive changes that the entry permits. *)
Theorem exec_prims i x s : prims (permits i x s) s (exec i x s).
Proof.
  unfold exec. destruct x; try (peel; fail).
  - destruct (actor i s) as [a|] eqn:E; [|constructor]. apply answer_prims. intros rep t.
    apply operation_prims; intros; unfold permits; rewrite E; first [solve [auto] | repeat split; auto].
  - destruct (actor i s) as [a|] eqn:E; [|constructor]. apply fault_prims. intros. unfold permits. now rewrite E.
  - apply fold_prims. intros. apply expire_prims.
Qed.
Theorem enter_exec_prims i at_ x s : prims (permits i x (before i at_ x s)) s (enter_exec i at_ x s).
Proof.
  assert (enter_exec i at_ x s = exec i x (before i at_ x s)) as -> by now destruct x.
  eapply prims_trans; [apply before_prims|apply exec_prims].
Qed.
Theorem step_prims i at_ x choice s t : step i at_ x choice s = Some t -> prims (permits i x (before i at_ x s)) s t.
Proof.
  unfold step. intro H. eapply prims_trans; [apply enter_exec_prims|].
  destruct x; try (now injection H as <-; constructor); eapply schedule_prims; exact H.
Qed.
