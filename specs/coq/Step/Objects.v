(** Operations of Memory, ProtectionDomain, Thread, SchedContext and Portal. *)
From Ecusson Require Export Step.Destroy.

(** ** Memory *)

Definition split_off (u : upper) (m first pages d i : N) : N -> state -> state := fun a t =>
  new_upper u m first pages a d i t.
Definition split (a m : N) (w : list N) (s : state) : outcome :=
  u <- usable m s;;
  u <- at_arg 2 (empty_slot a (word 2 w) s);;
  first <- run_beside_object m (word 1 w) 0 1 s;;
  Ok (RDone 0, make_small m (split_off UMemory m first (word 1 w) (domain_of a s) (word 2 w)) s).

Definition create_region (a m : N) (w : list N) (s : state) : outcome :=
  if 18 <? word 4 w then Err BadArg 4
  else first <- run_beside_object m (word 3 w) (word 4 w) 3 s;;
       Ok (RDone 0, make_small m (split_off URegion m first (word 3 w) (domain_of a s) (word 2 w)) s).

Definition init_space (sp m : N) (dma : bool) (s : state) : state :=
  if dma then set_pages sp (TablePages 0 [] []) s
  else match take_page m (FPageTable sp) s with
       | Some (p, t) => set_pages sp (TablePages p [] []) t
       | None => s
       end.
Definition new_space (m d i : N) (dma : bool) : N -> state -> state := fun a t =>
  init_space a m dma (new_simple a (BSpace dma m) d i ALL t).
Definition create_space (a m : N) (w : list N) (s : state) : outcome :=
  dma <- match word 3 w with 0 => Ok false | 2 => Ok true | 1 => Err Unsupported 3 | _ => Err BadArg 3 end;;
  u <- afford m (if dma then 0 else 1) true s;;
  Ok (RDone 0, make_small m (new_space m (domain_of a s) (word 2 w) dma) s).

Fixpoint take_table_pages (fuel : nat) (m d : N) (s : state) : state :=
  match fuel with O => s | S n => take_table_pages n m d (take_next m (FTable d) s) end.
Definition new_domain (m pages sp d i : N) (s : state) : state :=
  let a := mem_next m s * PAGE_BYTES in
  new_simple a (BDomain pages sp m) d i ALL (take_table_pages (N.to_nat pages) m a (take_next m (FDomain m) s)).
Definition create_domain (a m : N) (w : list N) (s : state) : outcome :=
  let pages := word 3 w in
  u <- ensure ((1 <=? pages) && (pages <=? MAX_TABLE_PAGES)) BadArg 3;;
  sp <- at_arg 4 (lookup a (word 4 w) Space MANAGE s);;
  u <- ensure (negb (is_dma sp s)) BadType 4;;
  u <- ensure (negb (has_domain sp s)) Occupied 4;;
  u <- afford_run m (1 + pages) s;;
  Ok (RDone 0, new_domain m pages sp (domain_of a s) (word 2 w) s).

Definition count {A} (f : A -> bool) (m : map A) : N := N.of_nat (length (List.filter (fun e => f (snd e)) (elements m))).
Definition threads_on (i : N) (s : state) : N := count (fun v => t_core v =? i) (threads s).
Definition contexts_on (i : N) (s : state) : N := count (fun v => negb (x_period v =? 0) && (x_core v =? i)) (contexts s).
Definition new_thread (m domain c d i : N) (s : state) : state :=
  match take_page m (FThread m) s with
  | Some (p, t) => let a := p * PAGE_BYTES in set_thr a (set_t_core c thread0) (new_simple a (BThread domain) d i ALL t)
  | None => s
  end.
Definition create_thread (a m : N) (w : list N) (s : state) : outcome :=
  domain <- at_arg 3 (lookup a (word 3 w) ProtectionDomain MANAGE s);;
  u <- ensure (word 4 w <? core_count (cfg s)) BadArg 4;;
  u <- ensure (word 5 w <=? 1) BadArg 5;;
  u <- ensure (threads_on (word 4 w) s <? CORE_THREADS) NoMemory 4;;
  u <- afford m 1 false s;;
  Ok (RDone 0, new_thread m domain (word 4 w) (domain_of a s) (word 2 w) s).

Definition new_portal (server label : N) (active : bool) (d i : N) : N -> state -> state := fun a t =>
  set_portal a (MkPortal label active) (set_server a server (new_simple a BPortal d i ALL t)).
Definition create_portal (a m : N) (w : list N) (s : state) : outcome :=
  server <- at_arg 3 (lookup a (word 3 w) Thread MANAGE s);;
  u <- ensure (word 5 w <=? 1) BadArg 5;;
  u <- afford m 0 true s;;
  Ok (RDone 0, make_small m (new_portal server (word 4 w) (word 5 w =? 1) (domain_of a s) (word 2 w)) s).

Definition new_context (d i : N) : N -> state -> state := fun a t => set_ctx a ctx0 (new_simple a BContext d i ALL t).
Definition new_notification (d i : N) : N -> state -> state := fun a t =>
  set_bits a 0 (new_simple a BNotification d i ALL t).
Definition create_plain (a m slot : N) (make : N -> N -> N -> state -> state) (s : state) : outcome :=
  u <- afford m 0 true s;;
  Ok (RDone 0, make_small m (make (domain_of a s) slot) s).

Definition create (a m : N) (w : list N) (s : state) : outcome :=
  u <- usable m s;;
  match kind_of_code (word 1 w) with
  | None => Err BadArg 1
  | Some k =>
      u <- at_arg 2 (empty_slot a (word 2 w) s);;
      match k with
      | Region => create_region a m w s
      | Space => create_space a m w s
      | ProtectionDomain => create_domain a m w s
      | Thread => create_thread a m w s
      | SchedContext => create_plain a m (word 2 w) new_context s
      | Portal => create_portal a m w s
      | Notification => create_plain a m (word 2 w) new_notification s
      | Vcpu => Err Unsupported 1
      | Memory | Interrupt | Ports | Platform => Err BadArg 1
      end
  end.

Definition mem_first (m : N) (s : state) : N := match body_of m s with Some (BMemory f _ _ _ _) => f | _ => 0 end.
Definition mem_pages (m : N) (s : state) : N := match body_of m s with Some (BMemory _ p _ _ _) => p | _ => 0 end.
Definition memory_op (a m : N) (held : rights) (w : list N) (s : state) : outcome :=
  match word 0 w with
  | 1 => u <- require held MANAGE;; split a m w s
  | 2 => u <- require held MANAGE;; create a m w s
  | 3 => u <- require held MANAGE;; reclaim m s
  | 4 => u <- require held READ;; Ok (RWords (available m s) [0; mem_pages m s; mem_first m s; 0; 0; 0], s)
  | _ => Err BadArg 0
  end.

(** ** ProtectionDomain *)

Definition grant (a d : N) (w : list N) (s : state) : outcome :=
  match cap_at a (word 1 w) s with
  | None => Err BadCap 1
  | Some c =>
      u <- ensure (holds (c_rights c) GRANT) NoRight 1;;
      u <- ensure (live c s) Dead 1;;
      u <- ensure (word 2 w <? table_size d s) BadCap 2;;
      u <- ensure (slot_is_free d (word 2 w) s) Occupied 2;;
      Ok (RDone 0, copy_cap (domain_of a s) (word 1 w) d (word 2 w) (N.land (word 3 w) 0xFF) s)
  end.
Definition domain_op (a d : N) (held : rights) (w : list N) (s : state) : outcome :=
  u <- require held MANAGE;;
  match word 0 w with
  | 1 => grant a d w s
  | 2 => match slot_of d (word 1 w) s with
         | Some _ => Ok (RDone 0, drop_cap d (word 1 w) s)
         | None => Err BadCap 1
         end
  | _ => Err BadArg 0
  end.

(** ** Thread *)

Definition is_user_address (address : N) : bool := address / PAGE_BYTES <? USER_PAGES.
Definition start_registers (w : list N) : list N :=
  put 15 USER_FLAGS (put 16 (word 1 w) (put 17 (word 2 w) (put 8 (word 3 w) (repeat 0 18)))).
Definition stop (t : N) (s : state) : state := hold t (upd_thr t (set_t_stopped true) s).
(** Starting what another core runs has that core let go of it first, and says so: the one failure that changes something. *)
Definition start (a t : N) (w : list N) (s : state) : outcome :=
  if negb (is_user_address (word 1 w)) then Err BadArg 1
  else if negb (t =? a) && is_current t s
  then if runs t Inactive s then Err Busy 0 else Ok (RRefused Busy 0, stop t s)
  else
    let u := upd_thr t (fun v => set_t_stopped false (set_t_regs (start_registers w) v)) (retire t s) in
    Ok (if t =? a then RGone else RDone 0, admit t u).
Lemma stop_prims A t s : prims A s (stop t s).
Proof. unfold stop, upd_thr. peel. Qed.
#[global] Hint Resolve stop_prims : prims.
Lemma start_prims A a t w s rep u : start a t w s = Ok (rep, u) -> prims A s u.
Proof.
  unfold start, upd_thr. destruct (negb _); [discriminate|].
  destruct (negb _ && _); [destruct (runs _ _ _); [discriminate|]|]; intros [= <- <-]; peel.
Qed.
Definition resume (t : N) (s : state) : state :=
  let u := upd_thr t (set_t_stopped false) s in if runs t Held u then admit t u else u.
Lemma resume_prims A t s : prims A s (resume t s).
Proof. unfold resume, upd_thr. peel. Qed.
#[global] Hint Resolve resume_prims : prims.
Definition set_fault_handler (a t : N) (w : list N) (s : state) : outcome :=
  p <- at_arg 1 (lookup a (word 1 w) Portal CALL s);;
  Ok (RDone 0, upd_thr t (set_t_handler (cap_at a (word 1 w) s)) s).
Definition inspectable (t : N) (s : state) : res unit :=
  u <- ensure (t_stopped (thr t s) || t_faulting (thr t s) || runs t Inactive s) BadState 0;;
  ensure (negb (is_current t s)) Busy 0.
Definition peek (t : N) (w : list N) (s : state) : outcome :=
  u <- inspectable t s;;
  u <- ensure (word 1 w <? 3) BadArg 1;;
  Ok (RWords 0 (firstn 6 (skipn (N.to_nat (6 * word 1 w)) (t_regs (thr t s)))), s).
Definition poke (t : N) (w : list N) (s : state) : outcome :=
  u <- inspectable t s;;
  let group := N.shiftr (word 1 w) 8 in
  let index := N.land (word 1 w) 0xFF in
  u <- ensure ((group <? 3) && (index <? 6)) BadArg 1;;
  let i := group * 6 + index in
  u <- ensure (negb (i =? 16) || is_user_address (word 2 w)) BadArg 2;;
  let v := if i =? 15 then N.lor (N.land (word 2 w) POKE_FLAGS) USER_FLAGS else word 2 w in
  Ok (RDone 0, upd_thr t (fun r => set_t_regs (put (N.to_nat i) v (t_regs r)) r) s).
Definition bind_thread (a t : N) (w : list N) (s : state) : outcome :=
  n <- at_arg 1 (lookup a (word 1 w) Notification BIND s);;
  u <- ensure (match note_of t s with None => true | Some _ => false end) Occupied 0;;
  u <- ensure (negb (has n (bound s))) Occupied 1;;
  Ok (RDone 0, signal n 0 (bind_note n t s)).
Definition thread_state (t : N) (s : state) : N :=
  match t_run (thr t s) with
  | Inactive => 0 | Running | Ready | Held => 1 | Waiting | WaitingSignal => 2 | Calling => 3
  end + (if t_stopped (thr t s) then 0x100 else 0).
Definition thread_op (a t : N) (held : rights) (w : list N) (s : state) : outcome :=
  u <- require held (match word 0 w with 5 | 8 => READ | 6 => WRITE | _ => MANAGE end);;
  match word 0 w with
  | 1 => start a t w s
  | 2 => Ok (RDone 0, stop t s)
  | 3 => Ok (RDone 0, resume t s)
  | 4 => set_fault_handler a t w s
  | 5 => peek t w s
  | 6 => poke t w s
  | 7 => bind_thread a t w s
  | 8 => Ok (RWords (thread_state t s) [0; t_core (thr t s); 0; 0; 0; 0], s)
  | _ => Err BadArg 0
  end.

(** ** SchedContext *)

Definition is_configured (x : N) (s : state) : bool := negb (x_period (ctx x s) =? 0).
Definition has_callers (t : N) (s : state) : bool := any (fun _ k => k_server k =? t) (calls s).
Definition may_move (t : N) (s : state) : bool := (runs t Inactive s || runs t Held s) && negb (has_callers t s).
Definition parse_configuration (w : list N) (s : state) : res (N * N * N) :=
  let c := N.land (word 2 w) 0xFF in
  let prio := N.land (N.shiftr (word 2 w) 8) 0xFF in
  let weight := N.land (N.shiftr (word 2 w) 32) 0xFFFFFFFF in
  let bad_weight := (prio =? FAIR_PRIORITY) && negb ((1 <=? weight) && (weight <=? 0xFFFF)) in
  u <- ensure ((c <? core_count (cfg s)) && (prio <? 32) && negb bad_weight) BadArg 2;;
  u <- ensure (negb (word 3 w =? 0) && (word 3 w <=? word 4 w)) BadArg 3;;
  u <- ensure (word 4 w <=? LONGEST_PERIOD) BadArg 4;;
  Ok (c, prio, if prio =? FAIR_PRIORITY then weight else 0).
Definition move_thread (x c : N) (moves : bool) (s : state) : state :=
  match get x (homes s) with Some t => if moves then upd_thr t (set_t_core c) s else s | None => s end.
Definition take_priority (x prio : N) (s : state) : state :=
  match get x (homes s) with Some t => reconsider x (upd_thr t (set_t_own_prio prio) s) | None => s end.
Definition configure (a x : N) (w : list N) (s : state) : outcome :=
  p <- at_arg 1 (lookup a (word 1 w) Platform CPU_TIME s);;
  wanted <- parse_configuration w s;;
  let '(c, prio, weight) := wanted in
  let moves := negb (is_configured x s) || negb (x_core (ctx x s) =? c) in
  u <- ensure (negb moves || (contexts_on c s <? CORE_CONTEXTS)) NoMemory 2;;
  u <- ensure (negb moves || match get x (homes s) with Some t => may_move t s | None => true end) BadState 0;;
  let v := MkContext (word 3 w) (word 4 w) (now s) 0 (x_total (ctx x s)) weight c prio None in
  Ok (RDone 0, take_priority x prio (set_ctx x v (move_thread x c moves s))).
Definition bind_context (a x : N) (w : list N) (s : state) : outcome :=
  t <- at_arg 1 (lookup a (word 1 w) Thread MANAGE s);;
  u <- ensure (is_configured x s) BadState 0;;
  u <- ensure (negb (has x (homes s)) && match own_of t s with None => true | Some _ => false end) Occupied 1;;
  u <- ensure (x_core (ctx x s) =? t_core (thr t s)) BadArg 1;;
  let v := upd_thr t (set_t_own_prio (x_prio (ctx x s))) (bind_home x t s) in
  Ok (RDone 0, if runs t Held v && match held_by t v with None => true | Some _ => false end then admit t v else v).
Definition context_op (a x : N) (held : rights) (w : list N) (s : state) : outcome :=
  match word 0 w with
  | 1 => u <- require held MANAGE;; configure a x w s
  | 2 => u <- require held MANAGE;; bind_context a x w s
  | 3 => u <- require held READ;; Ok (RDone (x_total (ctx x s)), s)
  | _ => Err BadArg 0
  end.

(** ** Portal *)

Definition portal_op (p : N) (held : rights) (w : list N) (s : state) : outcome :=
  u <- require held MANAGE;;
  match word 0 w with
  | 1 => Ok (RDone (p_label (portal_of p s)), set_portal p (MkPortal (word 1 w) (p_active (portal_of p s))) s)
  | _ => Err BadArg 0
  end.

(** ** Platform: device memory, power, information. Interrupts and ports are not modelled. *)

Definition new_device_region (first pages d i : N) : N -> state -> state := fun a t =>
  set_scrubbed a pages (new_device first pages a d i t).
Definition mmio (a : N) (w : list N) (s : state) : outcome :=
  let first := word 1 w in
  let pages := word 2 w in
  u <- ensure (negb (pages =? 0) && (pages <=? MAX_REGION_PAGES)) BadArg 2;;
  u <- ensure (first + pages <=? N.shiftl 1 40) BadArg 1;;
  u <- ensure (negb (is_reserved first pages s)) NoRight 1;;
  m <- place a 3 (word 3 w) 4 (word 4 w) s;;
  Ok (RDone 0, make_small m (new_device_region first pages (domain_of a s) (word 4 w)) s).
Definition platform_op (a : N) (held : rights) (w : list N) (s : state) : outcome :=
  match word 0 w with
  | 3 => u <- require held 4;; mmio a w s
  | 4 => u <- require held POWER;; u <- ensure (word 1 w <=? 1) BadArg 1;; Ok (RDone 0, s)
  | 5 => Ok (RWords (core_count (cfg s)) [0; 1000000; 0; 0; 0; 0], s)
  | 1 => u <- require held 1;; Err Unsupported 0
  | 2 => u <- require held 2;; Err Unsupported 0
  | 6 => u <- require held POWER;; Err Unsupported 0
  | _ => Err BadArg 0
  end.
