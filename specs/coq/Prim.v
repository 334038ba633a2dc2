(** The primitive changes. A step of the kernel is a sequence of these ([Step/], theorem [step_prims]); each has a guard, without
    which it does nothing, that is what the invariants ([Inv/]) need. Handlers make the same checks before, and answer with the
    errors of the interface; that the kernel does not rely on a guard is what comparing it with this model shows. *)
From Ecusson Require Export State.

(** ** Objects *)

Definition fits (k : kind) (f : frame) : bool :=
  match f, k with
  | FThread _, Thread => true
  | FDomain _, ProtectionDomain => true
  | FSmall _ _, (Memory | Region | Space | SchedContext | Portal | Notification | Platform) => true
  | _, _ => false
  end.
Definition placed (a : N) (k : kind) (s : state) : bool :=
  match get (page_of a) (frames s) with Some f => fits k f | None => false end.
Definition slot_is_free (d i : N) (s : state) : bool :=
  (i <? table_size d s) && match slot_of d i s with None => true | Some _ => false end.
Definition can_add (a d i : N) (k : kind) (s : state) : bool :=
  negb (has_obj a s) && placed a k s && slot_is_free d i s.

(** A new object, and its first capability in slot [i] of domain [d]. *)
Definition add_object (a : N) (b : body) (d i : N) (r : rights) (s : state) : state :=
  let e := N.succ (epochs s) in
  with_slots (set2 d i (Cap a (body_kind b) r e) (slots s)) (with_objs (set a (Object e true b) (objs s)) (with_epochs e s)).

Definition has_domain (sp : N) (s : state) : bool :=
  any (fun _ o => match o_body o with BDomain _ sp' _ => sp' =? sp | _ => false end) (objs s).

(** What a new object without pages of its own may be. *)
Definition is_simple (b : body) (s : state) : bool :=
  match b with
  | BMemory _ _ _ _ _ | BRegion _ _ _ _ _ _ => false
  | BDomain _ sp _ => is_kind Space sp s && negb (has_domain sp s)
  | BThread d => is_kind ProtectionDomain d s
  | _ => true
  end.
Definition new_simple (a : N) (b : body) (d i : N) (r : rights) (s : state) : state :=
  if is_simple b s && can_add a d i (body_kind b) s then add_object a b d i r s else s.

Definition set_body (a : N) (b : body) (s : state) : state :=
  match get a (objs s) with
  | Some o => with_objs (set a (Object (o_epoch o) (o_alive o) b) (objs s)) s
  | None => s
  end.

(** A Memory or a root Region from the upper end of a Memory's unused pages. *)
Inductive upper := UMemory | URegion.
Definition upper_body (u : upper) (first pages : N) : body :=
  match u with
  | UMemory => BMemory first pages first (first + pages) false
  | URegion => BRegion first pages ALL false 0 None
  end.
Definition new_upper (u : upper) (m first pages a d i : N) (s : state) : state :=
  match body_of m s with
  | Some (BMemory f p next end_ primal) =>
      if (next <=? first) && (first + pages <=? end_) && can_add a d i (body_kind (upper_body u 0 0)) s && negb (a =? m)
      then add_object a (upper_body u first pages) d i ALL (set_body m (BMemory f p next first primal) s)
      else s
  | _ => s
  end.

(** A slice: within its parent, with no more access than that. MANAGE and GRANT are about the object, not its pages. *)
Definition ACCESS : rights := 7.
Definition new_slice (parent first pages a d i : N) (r : rights) (s : state) : state :=
  match body_of parent s with
  | Some (BRegion f p max device depth up) =>
      if (first + pages <=? p) && holds (N.land max ACCESS) (N.land r ACCESS) && can_add a d i Region s
      then add_object a (BRegion (f + first) pages r device (N.succ depth) (Some parent)) d i r s
      else s
  | _ => s
  end.

(** Device memory: nothing of it is RAM. *)
Definition new_device (first pages a d i : N) (s : state) : state :=
  if negb (is_reserved first pages s) && can_add a d i Region s
  then add_object a (BRegion first pages ALL true 0 None) d i ALL s else s.

(** Kills every capability to an object. *)
Definition condemn (a : N) (s : state) : state :=
  match get a (objs s) with
  | Some o => with_objs (set a (Object (o_epoch o) false (o_body o)) (objs s)) s
  | None => s
  end.

(** Whether anything names the object, or it still takes part in something. *)
Definition body_names (a : N) (b : body) : bool :=
  match b with
  | BRegion _ _ _ _ _ (Some p) => p =? a
  | BDomain _ sp _ => sp =? a
  | BThread d => d =? a
  | _ => false
  end.
Definition link_names (a : N) (m : map N) : bool := has a m || any (fun _ v => v =? a) m.
Definition is_linked (a : N) (s : state) : bool :=
  any (fun _ o => body_names a (o_body o)) (objs s)
  || has a (atts s) || any (fun _ t => a_space t =? a) (atts s)
  || link_names a (homes s) || link_names a (servers s) || link_names a (bound s)
  || has a (calls s) || any (fun _ k => k_server k =? a) (calls s)
  || has a (stacks s) || in_some_stack a s
  || any (fun _ c => match r_current c with Some t => t =? a | None => false end) (cores s).

Definition forget (a : N) (s : state) : state :=
  with_slots (del a (slots s)) (with_ptes (del a (ptes s)) (with_tables (del a (tables s)) (with_pools (del a (pools s))
  (with_spaces (del a (spaces s)) (with_threads (del a (threads s)) (with_contexts (del a (contexts s))
  (with_portals (del a (portals s)) (with_bits (del a (bits s)) s)))))))).

(** The end of a dying object that nothing names. *)
Definition remove_object (a : N) (s : state) : state :=
  match get a (objs s) with
  | Some o => if negb (o_alive o) && negb (is_linked a s) then with_objs (del a (objs s)) (forget a s) else s
  | None => s
  end.

(** ** Pages *)

(** Takes the first unused page of a Memory. *)
Definition take_next (m : N) (f : frame) (s : state) : state :=
  match body_of m s with
  | Some (BMemory first pages next end_ primal) =>
      if next <? end_
      then with_frames (set next f (frames s)) (set_body m (BMemory first pages (N.succ next) end_ primal) s)
      else s
  | _ => s
  end.

Definition is_small (f : frame) : bool := match f with FSmall _ _ => true | _ => false end.
Definition is_bare (p : N) (s : state) : bool := negb (any (fun a _ => page_of a =? p) (objs s)).

(** Gives a page that is no plain page another use. *)
Definition retag (p : N) (f : frame) (s : state) : state :=
  match get p (frames s) with
  | Some old => if is_bare p s || (is_small old && is_small f) then with_frames (set p f (frames s)) s else s
  | None => s
  end.
Definition untag (p : N) (s : state) : state := if is_bare p s then with_frames (del p (frames s)) s else s.

(** Whether anything claims a page of a run, a Memory apart. *)
Definition is_claimed (first pages m : N) (s : state) : bool :=
  any (fun p _ => (first <=? p) && (p <? first + pages)) (frames s)
  || any (fun a o => negb (a =? m) && overlap (range_of (o_body o)) (first, first + pages)) (objs s).

(** All pages of a Memory are unused again. *)
Definition refill (m : N) (s : state) : state :=
  match body_of m s with
  | Some (BMemory first pages _ _ primal) =>
      if is_claimed first pages m s then s else set_body m (BMemory first pages first (first + pages) primal) s
  | _ => s
  end.
Definition set_pool (m : N) (v : pool) (s : state) : state := with_pools (set m v (pools s)) s.

(** ** Attachments *)

Definition att_begin (r sp page : N) (rights : rights) (s : state) : state :=
  match body_of r s with
  | Some (BRegion _ _ max _ _ _) =>
      if is_kind Space sp s && negb (has r (atts s)) && holds (N.land max ACCESS) rights
      then with_atts (set r (Att sp page rights 0 0 (N.succ (stamps s))) (atts s)) (with_stamps (N.succ (stamps s)) s)
      else s
  | _ => s
  end.

Definition map_page (sp r first page : N) (rights : rights) (m : map (map pte)) (i : N) : map (map pte) :=
  set2 sp (page + i) (Pte (first + i) rights r) m.
Definition unmap_page (sp page : N) (m : map (map pte)) (i : N) : map (map pte) := del2 sp (page + i) m.
Definition is_unmapped (sp page : N) (m : map (map pte)) (i : N) : bool :=
  match get2 sp (page + i) m with None => true | Some _ => false end.

(** Maps so many more pages of an attachment. *)
Definition att_map (r : N) (count : N) (s : state) : state :=
  match body_of r s, get r (atts s) with
  | Some (BRegion first pages _ _ _ _), Some a =>
      let new := upto (a_mapped a) (N.to_nat count) in
      if (a_mapped a + count <=? pages) && forallb (is_unmapped (a_space a) (a_page a) (ptes s)) new
      then with_ptes (fold_left (map_page (a_space a) r first (a_page a) (a_rights a)) new (ptes s))
             (with_atts (set r (Att (a_space a) (a_page a) (a_rights a) (a_mapped a + count) (a_flush a) (a_stamp a)) (atts s)) s)
      else s
  | _, _ => s
  end.

(** Unmaps so many pages from the end of an attachment, and notes which flush to wait for. *)
Definition att_unmap (r count flush : N) (s : state) : state :=
  match get r (atts s) with
  | Some a =>
      if count <=? a_mapped a
      then with_ptes (fold_left (unmap_page (a_space a) (a_page a)) (upto (a_mapped a - count) (N.to_nat count)) (ptes s))
             (with_atts (set r (Att (a_space a) (a_page a) (a_rights a) (a_mapped a - count) flush (a_stamp a)) (atts s)) s)
      else s
  | None => s
  end.
Definition att_end (r : N) (s : state) : state :=
  match get r (atts s) with
  | Some a => if a_mapped a =? 0 then with_atts (del r (atts s)) s else s
  | None => s
  end.

(** ** Capabilities *)

Definition masked (c : cap) (mask : rights) : cap := Cap (c_addr c) (c_kind c) (N.land (c_rights c) mask) (c_epoch c).

(** Copies a living capability that has GRANT into an empty slot. *)
Definition copy_cap (d i e j : N) (mask : rights) (s : state) : state :=
  match slot_of d i s with
  | Some c =>
      if holds (c_rights c) GRANT && live c s && slot_is_free e j s then with_slots (set2 e j (masked c mask) (slots s)) s else s
  | None => s
  end.
(** The same in a message, into the slot that the receiver opened. *)
Definition in_call (t u : N) (s : state) : bool :=
  match callee_of t s with Some v => v =? u | None => false end || match callee_of u s with Some v => v =? t | None => false end.
Definition send_cap (t i u j : N) (mask : rights) (s : state) : state :=
  if in_call t u s && (t_receive (thr u s) =? N.succ j) then copy_cap (domain_of t s) i (domain_of u s) j mask s else s.
Definition drop_cap (d i : N) (s : state) : state := with_slots (del2 d i (slots s)) s.

(** ** Calls *)

(** Whether the chain that begins at a server ends, within as many links as a chain may have, without meeting the caller. *)
Fixpoint is_chain_free (fuel : nat) (caller : N) (link : option N) (s : state) : bool :=
  match fuel, link with
  | O, _ => false
  | S _, None => true
  | S n, Some l => if l =? caller then false else is_chain_free n caller (callee_of l s) s
  end.

(** Served calls above a thread. *)
Fixpoint depth_of (fuel : nat) (t : N) (s : state) : nat :=
  match fuel with
  | O => O
  | S n => match caller_of t s with None => O | Some c => S (depth_of n c s) end
  end.
Definition depth (t : N) (s : state) : nat := depth_of MAX_CALL_DEPTH t s.

(** A thread that is in no call queues at a server. *)
Definition call_begin (c v : N) (via : cap) (level : N) (s : state) : state :=
  if negb (has c (calls s)) && is_kind Thread c s && is_kind Thread v s && is_chain_free MAX_CALL_DEPTH c (Some v) s
  then with_trace (ECalled c :: trace s)
         (with_calls (set c (Call v Queued via level (N.succ (stamps s))) (calls s)) (with_stamps (N.succ (stamps s)) s))
  else s.

(** A server that serves nobody, and waits for nobody, takes a caller. *)
Definition call_serve (c : N) (s : state) : state :=
  match get c (calls s) with
  | Some k =>
      if Nat.ltb (S (depth c s)) MAX_CALL_DEPTH && match caller_of (k_server k) s with None => true | Some _ => false end
         && negb (has (k_server k) (calls s))
      then with_calls (set c (Call (k_server k) Served (k_via k) (k_level k) (k_stamp k)) (calls s)) s
      else s
  | None => s
  end.

(** A call is over; it counts as answered if the caller gets a result. *)
Definition call_end (c : N) (answered : bool) (s : state) : state :=
  if has c (calls s)
  then with_trace (if answered then EAnswered c :: trace s else trace s) (with_calls (del c (calls s)) s)
  else s.

(** ** Scheduling contexts *)

(** A thread takes its own context, if nobody has it and it has none. *)
Definition run_own (t : N) (s : state) : state :=
  match own_of t s with
  | Some x => match stack_of x s with
              | [] => if in_some_stack t s then s else with_stacks (set x [t] (stacks s)) s
              | _ :: _ => s
              end
  | None => s
  end.

(** A thread lends the context that it holds to one that has none. *)
Definition lend (c v : N) (s : state) : state :=
  match held_by c s with
  | Some x => if in_some_stack v s || negb (is_kind Thread v s) then s else with_stacks (set x (v :: stack_of x s) (stacks s)) s
  | None => s
  end.

Fixpoint from (t : N) (l : list N) : list N :=
  match l with [] => [] | h :: rest => if h =? t then l else from t rest end.
(** A thread has back what it lent, from whoever along the chain holds it. *)
Definition take_back (c : N) (s : state) : state :=
  match lent_by c s with
  | Some x => with_stacks (set x (from c (stack_of x s)) (stacks s)) s
  | None => s
  end.

(** A thread holds nothing any more, if it was not lent. *)
Definition let_go (t : N) (s : state) : state :=
  match held_by t s with
  | Some x => match stack_of x s with [_] => with_stacks (del x (stacks s)) s | _ => s end
  | None => s
  end.

Definition bind_home (x t : N) (s : state) : state :=
  if is_kind SchedContext x s && is_kind Thread t s && negb (has x (homes s)) && negb (has x (stacks s))
     && match own_of t s with None => true | Some _ => false end
  then with_homes (set x t (homes s)) s else s.
Definition unbind_home (x : N) (s : state) : state :=
  with_stacks (del x (stacks s)) (with_homes (del x (homes s)) s).

(** ** Other links, attributes *)

Definition set_server (p t : N) (s : state) : state :=
  if is_kind Portal p s && is_kind Thread t s then with_servers (set p t (servers s)) s else s.
Definition unset_server (p : N) (s : state) : state := with_servers (del p (servers s)) s.
Definition bind_note (n t : N) (s : state) : state :=
  if is_kind Notification n s && is_kind Thread t s then with_bound (set n t (bound s)) s else s.
Definition unbind_note (n : N) (s : state) : state := with_bound (del n (bound s)) s.
Definition set_current (i : N) (t : option N) (s : state) : state :=
  let c := core_of i s in
  match t with
  | Some t => if is_kind Thread t s
              then with_cores (set i (MkCore (Some t) (r_charged c) (r_loaded c) (r_wanted c) (r_flushed c)) (cores s)) s else s
  | None => with_cores (set i (MkCore None (r_charged c) (r_loaded c) (r_wanted c) (r_flushed c)) (cores s)) s
  end.
Definition set_clock (i charged : N) (loaded : option N) (wanted flushed : N) (s : state) : state :=
  with_cores (set i (MkCore (r_current (core_of i s)) charged loaded wanted flushed) (cores s)) s.
Definition set_thr (t : N) (v : thread) (s : state) : state := with_threads (set t v (threads s)) s.
Definition set_ctx (x : N) (v : context) (s : state) : state := with_contexts (set x v (contexts s)) s.
Definition set_portal (p : N) (v : portal) (s : state) : state := with_portals (set p v (portals s)) s.
Definition set_bits (n v : N) (s : state) : state := with_bits (set n v (bits s)) s.
Definition set_pages (p : N) (v : tablepages) (s : state) : state := with_spaces (set p v (spaces s)) s.
Definition set_table (p key v : N) (s : state) : state := with_tables (set2 p key v (tables s)) s.
Definition unset_table (p key : N) (s : state) : state := with_tables (del2 p key (tables s)) s.

(** ** All of them *)

(** What adds a capability to a table is labelled with where it came from. *)
Inductive label :=
  | Quiet
  | Created (d i : N)            (* a new object's first capability, into slot [i] of domain [d] *)
  | Granted (d i e j : N)        (* slot [i] of [d] to slot [j] of [e] by [ProtectionDomain.grant] *)
  | Sent (t i u j : N).          (* slot [i] of thread [t] in a message to thread [u], which had opened slot [j] *)

Inductive prim : label -> state -> state -> Prop :=
  | p_simple a b d i r s : prim (Created d i) s (new_simple a b d i r s)
  | p_upper u m first pages a d i s : prim (Created d i) s (new_upper u m first pages a d i s)
  | p_slice parent first pages a d i r s : prim (Created d i) s (new_slice parent first pages a d i r s)
  | p_device first pages a d i s : prim (Created d i) s (new_device first pages a d i s)
  | p_grant d i e j mask s : prim (Granted d i e j) s (copy_cap d i e j mask s)
  | p_send t i u j mask s : prim (Sent t i u j) s (send_cap t i u j mask s)
  | p_drop d i s : prim Quiet s (drop_cap d i s)
  | p_condemn a s : prim Quiet s (condemn a s)
  | p_remove a s : prim Quiet s (remove_object a s)
  | p_take_next m f s : prim Quiet s (take_next m f s)
  | p_retag p f s : prim Quiet s (retag p f s)
  | p_untag p s : prim Quiet s (untag p s)
  | p_refill m s : prim Quiet s (refill m s)
  | p_pool m v s : prim Quiet s (set_pool m v s)
  | p_att_begin r sp page rights s : prim Quiet s (att_begin r sp page rights s)
  | p_att_map r count s : prim Quiet s (att_map r count s)
  | p_att_unmap r count flush s : prim Quiet s (att_unmap r count flush s)
  | p_att_end r s : prim Quiet s (att_end r s)
  | p_call_begin c v via level s : prim Quiet s (call_begin c v via level s)
  | p_call_serve c s : prim Quiet s (call_serve c s)
  | p_call_end c answered s : prim Quiet s (call_end c answered s)
  | p_run_own t s : prim Quiet s (run_own t s)
  | p_lend c v s : prim Quiet s (lend c v s)
  | p_take_back c s : prim Quiet s (take_back c s)
  | p_let_go t s : prim Quiet s (let_go t s)
  | p_bind_home x t s : prim Quiet s (bind_home x t s)
  | p_unbind_home x s : prim Quiet s (unbind_home x s)
  | p_set_server p t s : prim Quiet s (set_server p t s)
  | p_unset_server p s : prim Quiet s (unset_server p s)
  | p_bind_note n t s : prim Quiet s (bind_note n t s)
  | p_unbind_note n s : prim Quiet s (unbind_note n s)
  | p_current i t s : prim Quiet s (set_current i t s)
  | p_clock i charged loaded wanted flushed s : prim Quiet s (set_clock i charged loaded wanted flushed s)
  | p_thr t v s : prim Quiet s (set_thr t v s)
  | p_ctx x v s : prim Quiet s (set_ctx x v s)
  | p_portal p v s : prim Quiet s (set_portal p v s)
  | p_bits n v s : prim Quiet s (set_bits n v s)
  | p_pages p v s : prim Quiet s (set_pages p v s)
  | p_table p key v s : prim Quiet s (set_table p key v s)
  | p_untable p key s : prim Quiet s (unset_table p key s)
  | p_now v s : prim Quiet s (with_now v s)
  | p_flushes v s : prim Quiet s (with_flushes v s).

(** Sequences of primitive changes, of whose labels those that are not [Quiet] are permitted. *)
Inductive prims (A : label -> Prop) : state -> state -> Prop :=
  | prims_refl s : prims A s s
  | prims_snoc l s t u : prims A s t -> (l = Quiet \/ A l) -> prim l t u -> prims A s u.

Lemma prims_trans A s t u : prims A s t -> prims A t u -> prims A s u.
Proof.
  intros H K. revert H. induction K; intro; [assumption|].
  eapply prims_snoc; [apply IHK; assumption | eassumption | eassumption].
Qed.

Lemma prims_weaken (A B : label -> Prop) s t : (forall l, A l -> B l) -> prims A s t -> prims B s t.
Proof.
  intros I H. induction H as [|l s t u _ IH L p]; [constructor|].
  apply (prims_snoc B l s t u); [exact IH | destruct L; [now left | right; auto] | exact p].
Qed.

Lemma prims_one (A : label -> Prop) l s t : l = Quiet \/ A l -> prim l s t -> prims A s t.
Proof. intros. eapply prims_snoc; [apply prims_refl | eassumption | assumption]. Qed.

(** What every permitted primitive change keeps, a sequence keeps. *)
Lemma prims_keep (A : label -> Prop) (P : state -> Prop) :
  (forall l s t, l = Quiet \/ A l -> prim l s t -> P s -> P t) -> forall s t, prims A s t -> P s -> P t.
Proof. intros K s t H. induction H as [|l s t u _ IH L p]; intro; [assumption|]. eapply K; eauto. Qed.
