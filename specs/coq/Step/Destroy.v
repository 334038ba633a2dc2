(** Destruction in bounded steps ([specs/objects.md]), and reclamation of a Memory. A step is a change of the state; the object is
    gone when [objs] has it no more, and only then the operation answers [Done]. *)
From Ecusson Require Export Step.Region.

(** The oldest of the objects that a test accepts: lists of the kernel are in order of creation. *)
Definition epoch_of (a : N) (s : state) : N := match get a (objs s) with Some o => o_epoch o | None => 0 end.
Definition best (better : N -> N -> bool) (l : list (N * N)) : option N :=
  option_map fst (fold_left (fun b e => match b with
    | None => Some e
    | Some x => if better (snd e) (snd x) then Some e else Some x
    end) l None).
Definition oldest (f : N -> object -> bool) (s : state) : option N :=
  best N.ltb (List.map (fun e => (fst e, o_epoch (snd e))) (List.filter (fun e => f (fst e) (snd e)) (elements (objs s)))).
Definition youngest (f : N -> object -> bool) (s : state) : option N :=
  best (fun a b => b <? a) (List.map (fun e => (fst e, o_epoch (snd e))) (List.filter (fun e => f (fst e) (snd e)) (elements (objs s)))).

Definition first_portal (t : N) (s : state) : option N :=
  oldest (fun a _ => match get a (servers s) with Some v => v =? t | None => false end) s.
Definition first_thread (d : N) (s : state) : option N :=
  oldest (fun _ o => match o_body o with BThread d' => d' =? d | _ => false end) s.
Definition space_domain (sp : N) (s : state) : option N :=
  search (fun _ o => match o_body o with BDomain _ sp' _ => sp' =? sp | _ => false end) (objs s).
Definition first_attachment (sp : N) (s : state) : option N :=
  best N.ltb (List.map (fun e => (fst e, a_stamp (snd e))) (List.filter (fun e => a_space (snd e) =? sp) (elements (atts s)))).
Definition first_slice (r : N) (s : state) : option N :=
  youngest (fun _ o => match o_body o with BRegion _ _ _ _ _ (Some p) => p =? r | _ => false end) s.
Fixpoint deepest (fuel : nat) (r : N) (s : state) : N :=
  match fuel with
  | O => r
  | S n => match first_slice r s with Some c => deepest n c s | None => r end
  end.

Definition frame_owner (p : N) (s : state) : N :=
  match get p (frames s) with
  | Some (FSmall o _ | FThread o | FDomain o | FTable o | FPageTable o | FReturned o) => o
  | None => 0
  end.

(** The time of a context that ends: whoever holds it falls back to its own; who lent it gets none back. *)
Definition unbind_context (x : N) (s : state) : state :=
  let u := upd_thr (match get x (homes s) with Some t => t | None => 0 end) (set_t_own_prio 0) (cancel_replenishment x s) in
  match get x (homes s) with
  | None => cancel_replenishment x s
  | Some _ => match holder_of x u with
              | Some h => fall_back h (unbind_home x u)
              | None => unbind_home x u
              end
  end.
Lemma unbind_context_prims A x s : prims A s (unbind_context x s).
Proof. unfold unbind_context, cancel_replenishment, upd_thr, upd_ctx. peel. Qed.
#[global] Hint Resolve unbind_context_prims : prims.

Definition part_from_notification (t : N) (s : state) : state :=
  match note_of t s with Some n => unbind_notification n s | None => s end.
Definition part_from_context (t : N) (s : state) : state :=
  match own_of t s with Some x => unbind_home x (cancel_replenishment x s) | None => s end.
Definition end_thread (t : N) (s : state) : state :=
  let m := frame_owner (page_of t) s in
  let u := remove_object t s in
  if has_obj t u then u else give_page m (page_of t) u.
Definition step_thread (t : N) (s : state) : state :=
  let u := retire t (condemn t s) in
  match first_caller t u with
  | Some c => abort_call c Dead u
  | None =>
      match first_portal t u with
      | Some p => unset_server p u
      | None =>
          let v := part_from_context t (part_from_notification t u) in
          if is_current t v then v else end_thread t v
      end
  end.
Lemma end_thread_prims A t s : prims A s (end_thread t s).
Proof. unfold end_thread. peel. Qed.
#[global] Hint Resolve end_thread_prims : prims.
Lemma part_from_notification_prims A t s : prims A s (part_from_notification t s).
Proof. unfold part_from_notification. peel. Qed.
Lemma part_from_context_prims A t s : prims A s (part_from_context t s).
Proof. unfold part_from_context, cancel_replenishment, upd_ctx. peel. Qed.
#[global] Hint Resolve part_from_notification_prims part_from_context_prims : prims.
Lemma step_thread_prims A t s : prims A s (step_thread t s).
Proof. unfold step_thread. peel. Qed.
#[global] Hint Resolve step_thread_prims : prims.

Fixpoint give_pages (first : N) (count : nat) (m : N) (s : state) : state :=
  match count with O => s | S n => give_pages (N.succ first) n m (give_page m first s) end.
Lemma give_pages_prims A f n m s : prims A s (give_pages f n m s).
Proof. revert f s. induction n; intros f s; cbn [give_pages]; [constructor|]. eapply prims_trans; [|apply IHn]. peel. Qed.
#[global] Hint Resolve give_pages_prims : prims.
Definition end_domain (d : N) (s : state) : state :=
  match body_of d s with
  | Some (BDomain pages _ m) =>
      let u := remove_object d s in
      if has_obj d u then u else give_pages (page_of d) (S (N.to_nat pages)) m u
  | _ => s
  end.
Definition step_domain (d : N) (s : state) : state :=
  let u := condemn d s in
  match first_thread d u with Some t => step_thread t u | None => end_domain d u end.
Lemma step_domain_prims A d s : prims A s (step_domain d s).
Proof. unfold step_domain, end_domain. peel. Qed.
#[global] Hint Resolve step_domain_prims : prims.

(** Gives tables of a space back, the root last. *)
Fixpoint end_space (fuel : nat) (sp : N) (s : state) : state :=
  match fuel with
  | O => s
  | S n =>
      let give p v := end_space n sp (give_page (space_memory sp s) p (set_pages sp v s)) in
      match pages_of sp s with
      | TablePages root (p :: used) unused => give p (TablePages root used unused)
      | TablePages root [] (p :: unused) => give p (TablePages root [] unused)
      | TablePages root [] [] => if root =? 0 then end_small sp s else give root (TablePages 0 [] [])
      end
  end.
Lemma end_space_prims A n sp s : prims A s (end_space n sp s).
Proof.
  revert s. induction n; intro s; cbn [end_space]; [constructor|].
  destruct (pages_of sp s) as [root [|p used] [|q unused]]; try destruct (root =? 0); peel;
    (eapply prims_trans; [|apply IHn]); peel.
Qed.
#[global] Hint Resolve end_space_prims : prims.
Definition is_loaded (sp : N) (s : state) : bool :=
  negb (t_root (pages_of sp s) =? 0)
  && any (fun _ c => match r_loaded c with Some l => l =? sp | None => false end) (cores s).
Definition step_space (sp : N) (s : state) : state :=
  let u := condemn sp s in
  match space_domain sp u, first_attachment sp u with
  | Some d, _ => step_domain d u
  | None, Some r => detach_step r u
  | None, None => if is_loaded sp u then u else end_space TABLES_A_STEP sp u
  end.
Lemma step_space_prims A sp s : prims A s (step_space sp s).
Proof. unfold step_space. peel. Qed.
#[global] Hint Resolve step_space_prims : prims.

(** A Region's slices from the bottom up, then its own attachment. *)
Definition step_region (r : N) (s : state) : state :=
  let u := condemn r s in
  let target := deepest 9 r u in
  let v := detach_step target (condemn target u) in
  if is_attached target v then v else end_small target v.
Lemma step_region_prims A r s : prims A s (step_region r s).
Proof. unfold step_region. peel. Qed.
#[global] Hint Resolve step_region_prims : prims.

Definition unlink (k : kind) (a : N) (s : state) : state :=
  match k with
  | SchedContext => unbind_context a s
  | Portal => unset_server a s
  | Notification => unbind_notification a s
  | _ => s
  end.
Lemma unlink_prims A k a s : prims A s (unlink k a s).
Proof. unfold unlink. peel. Qed.
#[global] Hint Resolve unlink_prims : prims.

(** One step for whatever object is at an address. *)
Definition destroy_step (a : N) (s : state) : state :=
  match body_of a s with
  | None => s
  | Some b =>
      match body_kind b with
      | Thread => step_thread a s
      | ProtectionDomain => step_domain a s
      | Region => step_region a s
      | Space => step_space a s
      | k => end_small a (unlink k a (condemn a s))
      end
  end.
Lemma destroy_step_prims A a s : prims A s (destroy_step a s).
Proof. unfold destroy_step. peel. Qed.
#[global] Hint Resolve destroy_step_prims : prims.

Definition is_destroyable (k : kind) : bool := match k with Memory | Platform | Vcpu => false | _ => true end.
(** The operation DESTROY: also by a capability to an object that is already dying. *)
Definition destroy (c : cap) (s : state) : outcome :=
  u <- require (c_rights c) MANAGE;;
  if negb (live c s || dying c s) then Err Dead 0
  else if negb (is_destroyable (c_kind c)) then Err BadArg 0
  else let t := destroy_step (c_addr c) s in
       Ok (if has_obj (c_addr c) t then RProgress 0 else RDone 0, t).

(** ** Reclamation: one sweep over a Memory's pages *)

Definition set_sweep (m at_ : N) (s : state) : state :=
  set_pool m (Pool (returned (pool_of m s)) (roomy (pool_of m s)) at_) s.
Fixpoint low_one (fuel : nat) (i used : N) : N :=
  match fuel with O => i | S n => if N.testbit used i then i else low_one n (N.succ i) used end.
(** What is to be destroyed in a page before the page is plain again. *)
Definition in_page (p : N) (f : frame) : option N :=
  match f with
  | FSmall _ used => if used =? 0 then None else Some (p * PAGE_BYTES + low_one 32 0 used * SMALL_BYTES)
  | FThread _ | FDomain _ => Some (p * PAGE_BYTES)
  | FTable o | FPageTable o => Some o
  | FReturned _ => None
  end.
(** Nothing claims a page of a Memory but the Memory. *)
Definition is_bounded (m : N) (s : state) : bool :=
  match body_of m s with Some (BMemory first pages _ _ _) => negb (is_claimed first pages m s) | _ => false end.
Fixpoint sweep_pages (fuel : nat) (m end_ at_ : N) (s : state) : reply * state :=
  match fuel with
  | O => (RProgress (end_ - at_), set_sweep m (N.succ at_) s)
  | S n =>
      if end_ <=? at_
      then if is_bounded m s then (RDone 0, set_pool m (Pool [] [] 0) (refill m s)) else (RProgress 0, s)
      else match get at_ (frames s) with
           | None => sweep_pages n m end_ (N.succ at_) s
           | Some f =>
               match in_page at_ f with
               | Some a => (RProgress (end_ - at_), set_sweep m (N.succ at_) (destroy_step a s))
               | None => sweep_pages n m end_ (N.succ at_) (untag at_ s)
               end
           end
  end.
Lemma sweep_pages_prims A n m e p s : prims A s (snd (sweep_pages n m e p s)).
Proof.
  revert p s. induction n; intros p s; cbn [sweep_pages]; [cbn [snd]; unfold set_sweep; peel|].
  destruct (e <=? p); [destruct (is_bounded m s); cbn [snd]; peel|]. destruct (get p (frames s)); [|apply IHn].
  destruct (in_page p f); [cbn [snd]; unfold set_sweep; peel|]. eapply prims_trans; [|apply IHn]. peel.
Qed.
Definition reclaim (m : N) (s : state) : outcome :=
  match body_of m s with
  | Some (BMemory first pages _ _ primal) =>
      if primal then Err BadState 0
      else
        let at_ := if sweep (pool_of m s) =? 0 then first else N.pred (sweep (pool_of m s)) in
        Ok (sweep_pages SWEEP_PAGES m (first + pages) at_ s)
  | _ => Err BadState 0
  end.
