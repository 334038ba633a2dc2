(** What is proved, in words that need no knowledge of the proofs. The numbers are those of [specs/README.md].

    [reachable c first pages s]: some sequence of entries (any system call of any thread on any core at any time, faults, timers,
    flushes, with every choice of the next thread that is allowed) leads from boot to [s]. [step] is one entry. *)
From Ecusson Require Export Boot.
Open Scope N_scope.

(** Any number of steps. *)
Inductive steps : state -> state -> Prop :=
  | steps_none s : steps s s
  | steps_more i at_ x choice s t u : steps s t -> step i at_ x choice t = Some u -> steps s u.
Lemma steps_prims s t : steps s t -> prims anything s t.
Proof.
  induction 1; [constructor|]. eapply prims_trans; [eassumption|].
  eapply prims_weaken; [|eapply step_prims; eassumption]. intros. exact I.
Qed.

(** ** 1. Rights only shrink on their way from one table to another.
    Whatever is in a slot later was in that slot, or in some slot with GRANT and at least those rights, or its object is new. *)
Theorem rights_only_shrink s t d i c :
  steps s t -> slot_of d i t = Some c ->
  slot_of d i s = Some c
  \/ (exists e j c0, slot_of e j s = Some c0 /\ holds (c_rights c0) GRANT = true /\ c_addr c = c_addr c0 /\ c_kind c = c_kind c0
        /\ c_epoch c = c_epoch c0 /\ subset (c_rights c) (c_rights c0))
  \/ epochs s < c_epoch c.
Proof. intros H C. destruct (d_rights _ _ (prims_descend _ _ _ (steps_prims _ _ H)) _ _ _ C) as [K|[K|K]]; auto. Qed.

(** A slice gives no access that its parent does not give, and lies within it. *)
Theorem slices_only_shrink c first pages s r f n max device depth p :
  In (first, pages) (ram c) -> 0 < pages -> reachable c first pages s -> body_of r s = Some (BRegion f n max device depth (Some p)) ->
  exists f' n' max' depth' up, body_of p s = Some (BRegion f' n' max' device depth' up)
    /\ f' <= f /\ f + n <= f' + n' /\ subset (N.land max ACCESS) (N.land max' ACCESS).
Proof.
  intros R L H B. destruct (g_slice _ (pages_good _ (reachable_good c first pages R L s H)) _ _ _ _ _ _ _ B)
    as (f' & n' & max' & d' & up & P & _ & K). exists f', n', max', d', up. tauto.
Qed.

(** ** 2. Authority grows only by an explicit grant or a permitted message.
    What one entry puts into slot [i] of domain [d] was put there because
    - the acting thread created an object, into its own table;
    - or it called [grant] through a living capability to [d] with MANAGE, for exactly this slot;
    - or, in a call or a reply, at some moment the sender and the receiver were caller and server of each other, the receiver is a
      thread of [d] and had opened slot [i]. *)
Theorem authority_grows_by_grant_or_message core at_ x choice s t d i c :
  step core at_ x choice s = Some t -> slot_of d i t = Some c -> slot_of d i s <> Some c ->
  let b := before core at_ x s in
  exists a, actor core b = Some a /\
  ((exists q, x = Syscall q /\ q_number q = 4 /\ d = domain_of a b /\ epochs s < c_epoch c)
   \/ (exists q, x = Syscall q /\ q_number q = 4 /\ word 0 (q_words q) = 1 /\ word 2 (q_words q) = i
         /\ lookup a (q_first q) ProtectionDomain MANAGE b = Ok d)
   \/ (exists m u v, prims (permits core x b) s m /\ in_call u v m = true /\ t_receive (thr v m) = N.succ i /\ domain_of v m = d)).
Proof.
  intros H C N. cbv zeta. pose proof (prims_arrive _ _ _ (step_prims _ _ _ _ _ _ H) _ _ _ C) as [K|K]; [congruence|].
  set (b := before core at_ x s) in *. destruct K as [P E|e j P|m u j v P M Q R D]; unfold permits in P;
    destruct (actor core b) as [a|]; try contradiction; exists a; (split; [reflexivity|]).
  - destruct x; try contradiction. left. exists q. tauto.
  - destruct x; try contradiction. right. left. exists q. destruct P as (P1 & P2 & P3 & P4 & P5 & P6). auto.
  - right. right. exists m, u, v. auto.
Qed.

(** ** 3. A capability whose object's epoch has passed confers nothing, for ever. *)
Theorem expired_for_ever s t c : c_epoch c <= epochs s -> live c s = false -> steps s t -> live c t = false.
Proof.
  intros E L H. destruct (live c t) eqn:T; [|reflexivity]. exfalso.
  unfold live in *. destruct (get (c_addr c) (objs t)) as [o|] eqn:G; [|discriminate]. apply andb_prop in T. destruct T as [A Q].
  apply N.eqb_eq in Q. destruct (d_dead _ _ (prims_descend _ _ _ (steps_prims _ _ H)) (c_addr c) (c_epoch c) E) as (o' & G' & A' & E').
  - exists o. auto.
  - now rewrite G', A', E', N.eqb_refl in L.
Qed.

(** When DESTROY answers [Done], the object is gone and nothing names it: no copy, no child, no mapping, no link. *)
Theorem done_has_reached_all cf first pages s cap_ v t :
  In (first, pages) (ram cf) -> 0 < pages -> reachable cf first pages s -> destroy cap_ s = Ok (RDone v, t) ->
  body_of (c_addr cap_) t = None /\ ~ named (c_addr cap_) t /\ forall c, c_addr c = c_addr cap_ -> live c t = false.
Proof.
  intros R L H D. pose proof (destroy_prims anything s cap_ _ _ D) as P.
  apply (reachable_good cf first pages R L) in H. apply (prims_good _ _ _ P) in H.
  assert (body_of (c_addr cap_) t = None) as B.
  { unfold destroy in D. destruct (require _ _); [|discriminate]. destruct (negb _); [discriminate|].
    destruct (negb (is_destroyable _)); [discriminate|]. cbv zeta in D. destruct (has_obj _ _) eqn:O; [discriminate|].
    injection D as _ <-. unfold body_of. now rewrite (has_obj_false _ _ O). }
  repeat split; [exact B| |].
  - intro N. apply (named_exists _ _ (links_good _ H) (maps_good _ H)) in N. now apply N.
  - intros c E. unfold live, body_of in *. rewrite E. now destruct (get (c_addr cap_) (objs t)).
Qed.

(** In every state, whatever is named exists. *)
Theorem links_name_what_exists cf first pages s a :
  In (first, pages) (ram cf) -> 0 < pages -> reachable cf first pages s -> named a s -> exists_at a s.
Proof.
  intros R L H. apply (reachable_good cf first pages R L) in H. apply named_exists; apply H.
Qed.

(** ** 4. A failed operation changes nothing but the result registers of who asked. *)
Theorem failure_changes_nothing core a q s e n :
  actor core s = Some a -> operation a q s = Err e n -> exec core (Syscall q) s = finish a (error_code e) n s.
Proof. intros A E. unfold exec. now rewrite A, E. Qed.
Theorem result_is_all a status second s t :
  t = finish a status second s ->
  with_threads (threads s) t = s
  /\ (forall b, b <> a -> get b (threads t) = get b (threads s))
  /\ exists regs, thr a t = set_t_receive 0 (set_t_regs regs (thr a s)).
Proof.
  intros ->. unfold finish, upd_thr, set_thr, thr. fields. repeat split.
  - now destruct s.
  - intros b ne. rewrite get_set. now destruct (N.eqb_spec b a).
  - eexists. rewrite get_set, N.eqb_refl. reflexivity.
Qed.

(** ** 6. Every page has one use: a page that is a kernel object's, a page table or given back is claimed by no Region and no
    Memory, and no page is claimed by two. *)
Theorem page_has_one_use cf first pages s p :
  In (first, pages) (ram cf) -> 0 < pages -> reachable cf first pages s ->
  (forall f a b, get p (frames s) = Some f -> body_of a s = Some b -> ~ claimed_by p b)
  /\ (forall a b x y, body_of a s = Some x -> body_of b s = Some y -> claimed_by p x -> claimed_by p y -> a = b).
Proof.
  intros R L H. apply (reachable_good cf first pages R L) in H. destruct H as [[P1 P2 _ _ _ _ _ _] _ _ _ _]. split; eauto.
Qed.

(** ** 7. A translation exists only for a Region that is attached to that space at that address, and permits no more than it. *)
Theorem mapped_is_attached cf first pages s sp v e :
  In (first, pages) (ram cf) -> 0 < pages -> reachable cf first pages s -> get2 sp v (ptes s) = Some e ->
  exists a f n max device depth up i,
    body_of (p_region e) s = Some (BRegion f n max device depth up) /\ get (p_region e) (atts s) = Some a /\ a_space a = sp
    /\ v = a_page a + i /\ p_frame e = f + i /\ i < n /\ subset (p_rights e) max.
Proof.
  intros R L H E. apply (reachable_good cf first pages R L) in H. destruct H as [_ [M1 M2] _ _ _].
  destruct (M1 _ _ _ E) as (a & f & n & max & device & depth & up & i & A & B & S & I & V & F & Q).
  destruct (M2 _ _ A) as (_ & f' & n' & max' & d' & depth' & up' & B' & W & X). rewrite B in B'. injection B' as <- <- <- <- <- <-.
  exists a, f, n, max, device, depth, up, i. repeat split; auto; [lia|]. rewrite Q. eapply subset_trans; [exact X|apply subset_land_l].
Qed.

(** ** 8. Pages of kernel objects and page tables are not mapped at all. (Without an IOMMU this says nothing about devices.) *)
Theorem kernel_pages_are_not_mapped cf first pages s sp v e f :
  In (first, pages) (ram cf) -> 0 < pages -> reachable cf first pages s ->
  get2 sp v (ptes s) = Some e -> get (p_frame e) (frames s) = Some f -> False.
Proof.
  intros R L H E F. destruct (mapped_is_attached cf first pages s sp v e R L H E) as (a & f' & n & max & dev & dep & up & i & B & _ & _ & _ & P & I & _).
  apply (reachable_good cf first pages R L) in H. destruct H as [G _ _ _ _].
  destruct (region_pages s _ _ _ _ _ _ _ (p_frame e) G B) as [K|(x & b & X & _ & C)]; [lia| |].
  - pose proof (g_ram_tags s G _ _ F). congruence.
  - exact (g_tags s G _ _ _ _ F X C).
Qed.

(** Every object lies in a page that is marked so. *)
Theorem objects_lie_in_kernel_pages cf first pages s a b :
  In (first, pages) (ram cf) -> 0 < pages -> reachable cf first pages s -> body_of a s = Some b -> exists f, get (page_of a) (frames s) = Some f.
Proof.
  intros R L H B. apply (reachable_good cf first pages R L) in H. pose proof (g_placed s (pages_good s H) _ _ B) as P.
  unfold placed in P. destruct (get (page_of a) (frames s)); [eauto|discriminate].
Qed.

(** ** 11. Donation is conserved: when RECLAIM answers [Done], all pages of the Memory are unused again and nobody else claims one. *)
Theorem reclaim_gives_all_back m s v t :
  reclaim m s = Ok (RDone v, t) ->
  exists f n primal, body_of m t = Some (BMemory f n f (f + n) primal) /\ available m t = n
    /\ (forall p g, f <= p < f + n -> get p (frames t) <> Some g).
Proof.
  unfold reclaim. destruct (body_of m s) as [[f n next end_ primal| | | | | | | |]|]; try discriminate. destruct primal; [discriminate|].
  cbv zeta. generalize SWEEP_PAGES. intros fuel. generalize (if sweep (pool_of m s) =? 0 then f else N.pred (sweep (pool_of m s))).
  intros at_ E. assert (sweep_pages fuel m (f + n) at_ s = (RDone v, t)) as H by (now injection E). clear E.
  revert at_ s H. induction fuel as [|k IH]; intros at_ s; cbn [sweep_pages]; [discriminate|].
  destruct (f + n <=? at_).
  - destruct (is_bounded m s) eqn:B; [|discriminate]. intros [= _ <-]. unfold is_bounded in B.
    destruct (body_of m s) as [[f' n' next' end' primal'| | | | | | | |]|] eqn:M; try discriminate. apply negb_true_iff in B.
    assert (body_of m (set_pool m (Pool [] [] 0) (refill m s)) = Some (BMemory f' n' f' (f' + n') primal')) as S.
    { unfold refill. rewrite M, B. change (body_of m (set_pool m (Pool [] [] 0) ?u)) with (body_of m u).
      rewrite body_of_set by congruence. now rewrite N.eqb_refl. }
    exists f', n', primal'. split; [exact S|]. split.
    + unfold available, between, mem_end, mem_next, returned_count, pool_of. rewrite S. unfold set_pool. fields.
      rewrite get_set, N.eqb_refl. cbn. lia.
    + intros p g L. unfold refill. rewrite M, B. unfold set_pool, set_body, is_claimed in *. apply orb_false_elim in B. destruct B as [B _].
      intro G. assert (get p (frames s) = Some g) as G' by (destruct (get m (objs s)); exact G).
      pose proof (any_false _ _ _ _ B G') as T. cbn in T. apply andb_false_iff in T. rewrite N.leb_nle, N.ltb_nlt in T. lia.
  - destruct (get at_ (frames s)) as [fr|]; [|apply IH]. destruct (in_page at_ fr); [discriminate|]. apply IH.
Qed.

(** ** 13. A call is answered at most once: no thread ever got more answers than it made calls, and while it waits it is one short. *)
Theorem answered_at_most_once cf first pages s t :
  In (first, pages) (ram cf) -> 0 < pages -> reachable cf first pages s ->
  (occurs (EAnswered t) (trace s) <= occurs (ECalled t) (trace s))%nat
  /\ (get t (calls s) <> None -> (occurs (EAnswered t) (trace s) < occurs (ECalled t) (trace s))%nat).
Proof.
  intros R L H. apply (reachable_good cf first pages R L) in H. pose proof (c_answers s (calls_good s H) t) as K. unfold has in K.
  split; [lia|]. intro. destruct (get t (calls s)); [lia|congruence].
Qed.
(** A server serves one caller at a time. *)
Theorem serves_one_caller cf first pages s c d k l :
  In (first, pages) (ram cf) -> 0 < pages -> reachable cf first pages s -> get c (calls s) = Some k -> get d (calls s) = Some l ->
  k_phase k = Served -> k_phase l = Served -> k_server k = k_server l -> c = d.
Proof. intros R L H. apply (reachable_good cf first pages R L) in H. apply (c_single s (calls_good s H)). Qed.

(** ** 14. A scheduling context has one holder, a thread holds one context, ... *)
Theorem one_holder cf first pages s x y t :
  In (first, pages) (ram cf) -> 0 < pages -> reachable cf first pages s ->
  holder_of x s = Some t -> holder_of y s = Some t -> x = y.
Proof.
  intros R L H. apply (reachable_good cf first pages R L) in H. destruct (stacks_good s H) as [_ K _ _]. unfold holder_of, stack_of.
  destruct (get x (stacks s)) as [[|a l]|] eqn:X; try discriminate. destruct (get y (stacks s)) as [[|b m]|] eqn:Y; try discriminate.
  cbn. intros [= ->] [= ->]. eapply K; eauto; now left.
Qed.
(** ... it was lent along a chain that begins at its own thread, ... *)
Theorem lent_from_home cf first pages s x l :
  In (first, pages) (ram cf) -> 0 < pages -> reachable cf first pages s -> get x (stacks s) = Some l ->
  l <> [] /\ NoDup l /\ get x (homes s) = Some (last l 0).
Proof.
  intros R L H G. apply (reachable_good cf first pages R L) in H. destruct (stacks_good s H) as [K1 _ K3 _].
  destruct (K3 _ _ G). eauto.
Qed.
(** ... and comes back to who lent it when the call ends, wherever along the chain it is: the change by which every reply, death and
    refusal ends a served call ([end_served]) makes the lender the holder. *)
Theorem lent_time_comes_back cf first pages s c x :
  In (first, pages) (ram cf) -> 0 < pages -> reachable cf first pages s -> lent_by c s = Some x -> holder_of x (take_back c s) = Some c.
Proof. intros R L H. apply (reachable_good cf first pages R L) in H. apply take_back_returns. apply H. Qed.

(** ** 15. Chains of calls are acyclic, and served ones bounded. *)
Theorem calls_are_acyclic cf first pages s t :
  In (first, pages) (ram cf) -> 0 < pages -> reachable cf first pages s -> ~ waits_for (calls s) t t.
Proof. intros R L H. apply (reachable_good cf first pages R L) in H. apply ends_acyclic, (c_ends s (calls_good s H)). Qed.
Theorem calls_are_bounded cf first pages s n t :
  In (first, pages) (ram cf) -> 0 < pages -> reachable cf first pages s -> serving (calls s) n t -> (n < 8)%nat.
Proof. intros R L H. apply (reachable_good cf first pages R L) in H. apply (c_bound s (calls_good s H)). Qed.

(** ** 20, in part: within a period every tick that is charged counts, and who has no budget left does not become ready. *)
Theorem charge_counts ticks at_ v :
  at_ - x_window v < x_period v -> x_used (charge ticks at_ v) = x_used v + ticks.
Proof.
  intro L. unfold charge, roll. cbn. assert (x_period v <=? at_ - x_window v = false) as -> by (apply N.leb_gt; exact L).
  rewrite andb_false_r. cbn. destruct (x_used v + ticks =? 0) eqn:Z; cbn; [|reflexivity]. apply N.eqb_eq in Z. lia.
Qed.
Theorem without_budget_not_ready t x s :
  runs t Ready s = false -> held_by t s = Some x -> is_depleted (roll (now s) (ctx x s)) = true -> runs t Ready (make_eligible t s) = false.
Proof.
  intros R H D. unfold make_eligible. destruct (t_stopped _); [exact R|]. rewrite H. unfold upd_ctx.
  assert (ctx x (set_ctx x (roll (now s) (ctx x s)) s) = roll (now s) (ctx x s)) as ->
    by (unfold ctx at 1, set_ctx; fields; now rewrite get_set, N.eqb_refl).
  rewrite D. unfold arm, upd_ctx, runs, thr, set_ctx in *. now destruct (x_armed _).
Qed.
