(** The first state: root's process, alone, with authority over everything; and the states that can be reached from it. *)
From Ecusson Require Export Inv.Caps Inv.Calls Inv.Links.
Open Scope N_scope.

(** ** What every state that can be reached satisfies *)

Record good (s : state) : Prop := {
  pages_good : pages_ok s;
  maps_good : maps_ok s;
  calls_good : calls_ok s;
  stacks_good : stacks_ok s;
  links_good : links_ok s
}.

Theorem prim_good l s t : prim l s t -> good s -> good t.
Proof.
  intros p [G1 G2 G3 G4 G5]. split; eauto using prim_pages_ok, prim_maps_ok, prim_calls_ok, prim_stacks_ok, prim_links_ok.
Qed.
Theorem prims_good A s t : prims A s t -> good s -> good t.
Proof. apply prims_keep. intros. eapply prim_good; eauto. Qed.

(** ** Boot, as [kernel/core/src/boot.rs] does it for a machine with one run of free memory and no images *)

Section Boot.
  Context (c : config) (first pages : N).

  Definition memory0 : N := first * PAGE_BYTES.
  Definition space0 : N := memory0 + SMALL_BYTES.
  Definition domain0 : N := (first + 34) * PAGE_BYTES.
  Definition thread0_at : N := (first + 39) * PAGE_BYTES.

  (** One Memory, in the first of its own pages. Row [memory0] of the tables is no domain's: nobody can use what lies there. *)
  Definition genesis : state := {|
    cfg := c; epochs := 1; stamps := 0;
    objs := set memory0 (Object 1 true (BMemory first pages (N.succ first) (first + pages) true)) empty;
    slots := set2 memory0 2 (Cap memory0 Memory ALL 1) empty;
    frames := set first (FSmall memory0 3) empty;
    pools := set memory0 (Pool [] [first] 0) empty;
    atts := empty; ptes := empty; tables := empty; spaces := empty; calls := empty; stacks := empty; homes := empty;
    servers := empty; bound := empty; threads := empty; contexts := empty; portals := empty; bits := empty;
    cores := fold_left (fun m i => set i (MkCore None 0 None 0 0) m) (upto 0 (N.to_nat (core_count c))) empty;
    now := 0; flushes := 0; trace := [] |}.

  Fixpoint take_nexts (count : nat) (f : frame) (s : state) : state :=
    match count with O => s | S n => take_nexts n f (take_next memory0 f s) end.
  (** Root's space with 32 tables, its protection domain with four pages of table, its thread. *)
  Definition root_pages (s : state) : state :=
    take_next memory0 (FThread memory0)
      (take_nexts 4 (FTable domain0) (take_next memory0 (FDomain memory0) (take_nexts 33 (FPageTable space0) s))).
  Definition add_space (s : state) : state :=
    if is_kind Memory memory0 s && negb (has_obj space0 s) && placed space0 Space s
    then add_object space0 (BSpace false memory0) memory0 0 ALL s else s.
  Definition add_domain (s : state) : state :=
    if is_kind Memory memory0 s && is_kind Space space0 s && negb (has_obj domain0 s) && placed domain0 ProtectionDomain s
    then add_object domain0 (BDomain 4 space0 memory0) memory0 1 ALL s else s.
  Definition root_caps (s : state) : state :=
    drop_cap memory0 0 (drop_cap memory0 1 (drop_cap memory0 2
      (copy_cap memory0 2 domain0 32 ALL (copy_cap memory0 0 domain0 2 ALL (copy_cap memory0 1 domain0 1 ALL s))))).
  Definition root_thread (s : state) : state :=
    set_thr thread0_at thread0 (set_pages space0 (TablePages (first + 1) [] (upto (first + 2) 32))
      (new_simple thread0_at (BThread domain0) domain0 3 ALL s)).
  Definition root_time (a : N) (s : state) : state :=
    upd_thr thread0_at (set_t_own_prio 30) (bind_home a thread0_at
      (set_ctx a (MkContext 4096 4096 0 0 0 0 0 30 None) (new_simple a BContext domain0 4 ALL s))).
  Definition root_objects (s : state) : state :=
    make_small memory0 (fun a t => bind_note a thread0_at (new_notification domain0 10 a t))
      (make_small memory0 root_time (make_small memory0 (fun a t => new_simple a BPlatform domain0 5 ALL t) s)).
  Definition root_starts (s : state) : state :=
    match schedule 0 (Some thread0_at) (admit thread0_at (root_objects (root_thread s))) with Some t => t | None => s end.
  Definition boot : state := root_starts (root_caps (add_domain (add_space (root_pages genesis)))).

  Context (has_ram : In (first, pages) (ram c)) (is_large : 0 < pages).

  Lemma body_genesis a b : body_of a genesis = Some b -> a = memory0 /\ b = BMemory first pages (N.succ first) (first + pages) true.
  Proof.
    unfold body_of, genesis. fields. rewrite get_set, get_empty. destruct (N.eqb_spec a memory0); cbn; [|discriminate].
    intros [= <-]. auto.
  Qed.
  Lemma ram_genesis p : first <= p < first + pages -> is_ram p genesis = true.
  Proof.
    intro L. unfold is_ram, is_reserved. apply existsb_exists. exists (first, pages). split; [exact has_ram|]. cbn [fst snd].
    apply andb_true_iff. rewrite !N.ltb_lt. lia.
  Qed.
  Lemma frames_genesis p f : get p (frames genesis) = Some f -> p = first.
  Proof. unfold genesis. fields. rewrite get_set, get_empty. destruct (N.eqb_spec p first); [auto|discriminate]. Qed.

  Lemma cores_genesis i k : get i (cores genesis) = Some k -> r_current k = None.
  Proof.
    unfold genesis. fields. generalize (upto 0 (N.to_nat (core_count c))). intro l.
    assert (forall m, (forall i k, get i m = Some k -> r_current k = None) ->
      get i (fold_left (fun m i => set i (MkCore None 0 None 0 0) m) l m) = Some k -> r_current k = None) as H.
    { induction l as [|j l IH]; intros m M; cbn [fold_left]; [apply M|]. apply IH. intros i' k'. rewrite get_set.
      destruct (i' =? j); [now intros [= <-]|apply M]. }
    apply H. intros i' k'. now rewrite get_empty.
  Qed.

  Lemma genesis_good : good genesis.
  Proof.
    assert (forall A k v, get k (empty : map A) = Some v -> False) as No by (intros A k v; now rewrite get_empty).
    assert (forall A k i v, get2 k i (empty : map (map A)) = Some v -> False) as No2.
    { intros A k i v. unfold get2, row. now rewrite !get_empty. }
    split.
    - split.
      + intros p f a b F B C. apply frames_genesis in F. apply body_genesis in B. destruct B as [-> ->]. subst.
        unfold claimed_by in C. apply inside_spec in C. cbn in C. lia.
      + intros a b x y p X Y _ _. apply body_genesis in X, Y. destruct X, Y. congruence.
      + intros a f n next end_ primal B. apply body_genesis in B. destruct B as [_ B]. injection B as -> -> -> -> ->. lia.
      + intros a b B. apply body_genesis in B. destruct B as [-> ->]. unfold placed, genesis, page_of, memory0. fields.
        rewrite N.div_mul by easy. now rewrite get_set, N.eqb_refl.
      + intros p f F. apply frames_genesis in F. subst. apply ram_genesis. lia.
      + intros a f n next end_ primal p B. apply body_genesis in B. destruct B as [_ B]. injection B as -> -> -> -> ->. apply ram_genesis.
      + intros a f n max depth up p B. apply body_genesis in B. now destruct B.
      + intros a f n max device depth p B. apply body_genesis in B. now destruct B.
    - split; cbn [genesis ptes atts]; intros; exfalso; eauto.
    - split; unfold genesis; fields.
      + intro t. unfold has. rewrite get_empty. cbn. lia.
      + intros a k d l E. exfalso. eauto.
      + intro t. apply ends_free. apply get_empty.
      + intros n t S. destruct S; [|exfalso; eauto]. unfold MAX_CALL_DEPTH. lia.
    - split; unfold genesis; fields; intros; exfalso; eauto.
    - split; try (unfold genesis; fields; intros; exfalso; eauto; fail).
      + intros a b B. apply body_genesis in B. now destruct B as [_ ->].
      + intros d i k. unfold slot_of, genesis. fields. rewrite get2_set2. destruct (_ && _) eqn:E; [|intro; exfalso; eauto].
        ands. subst. intros _. unfold exists_at, body_of. fields. now rewrite get_set, N.eqb_refl.
      + intros i k t G E. apply cores_genesis in G. congruence.
  Qed.

  Definition anything (l : label) : Prop := True.
  Lemma take_nexts_prims n f s : prims anything s (take_nexts n f s).
  Proof. revert s. induction n; intro s; cbn [take_nexts]; [constructor|]. eapply prims_trans; [|apply IHn]. peel. Qed.
  Hint Resolve take_nexts_prims : prims.
  Lemma copy_prims d i e j mask s : prims anything s (copy_cap d i e j mask s).
  Proof. eapply prims_one; [right; exact I|constructor]. Qed.
  Hint Resolve copy_prims : prims.

  Lemma good_add a b s : good s -> has_obj a s = false -> placed a (body_kind b) s = true ->
    (forall p, ~ claimed_by p b) -> body_fits b s -> (forall x, body_names x b = true -> exists_at x s) -> forall i,
    exists_at memory0 s -> good (add_object a b memory0 i ALL s).
  Proof.
    intros [G1 G2 G3 G4 G5] H P C F N i M. split.
    - apply pages_add; auto. intros p K. now apply C in K.
    - now apply maps_add.
    - destruct G3 as [A B D E]. now split.
    - destruct G4 as [A B D E]. now split.
    - now apply links_add.
  Qed.

  Lemma unclaimed_nothing b : range_of b = (0, 0) -> forall p, ~ claimed_by p b.
  Proof. intros R p. unfold claimed_by. rewrite inside_spec, R. cbn. lia. Qed.
  Lemma add_space_good s : good s -> good (add_space s).
  Proof.
    intro G. unfold add_space. destruct (_ && _) eqn:E; [|exact G]. ands.
    apply good_add; auto; try exact I; try easy; [now apply unclaimed_nothing|eauto using exists_kind].
  Qed.
  Lemma add_domain_good s : good s -> good (add_domain s).
  Proof.
    intro G. unfold add_domain. destruct (_ && _) eqn:E; [|exact G]. ands.
    apply good_add; auto; try exact I; [now apply unclaimed_nothing| |eauto using exists_kind].
    cbn. intros x N. ands. subst. eauto using exists_kind.
  Qed.

  Lemma new_prims a b d i r s : prims anything s (new_simple a b d i r s).
  Proof. eapply prims_one; [right; exact I|constructor]. Qed.
  Hint Resolve new_prims : prims.
  Lemma root_time_prims a s : prims anything s (root_time a s).
  Proof. unfold root_time, upd_thr. peel. Qed.
  Lemma root_objects_prims s : prims anything s (root_objects s).
  Proof.
    unfold root_objects. eapply prims_trans; [|apply make_small_prims; intros; unfold new_notification; peel].
    eapply prims_trans; [|apply make_small_prims; intros; apply root_time_prims]. apply make_small_prims. intros. peel.
  Qed.
  Hint Resolve root_objects_prims : prims.

  Theorem boot_good : good boot.
  Proof.
    unfold boot, root_starts. set (s := root_caps _).
    assert (good s) as G.
    { unfold s, root_caps. refine (prims_good anything _ _ _ (add_domain_good _ (add_space_good _ (prims_good anything _ _ _ genesis_good)))).
      - peel.
      - unfold root_pages. peel. }
    destruct (schedule _ _ _) as [t|] eqn:E; [|exact G]. apply schedule_prims with (A := anything) in E.
    refine (prims_good anything _ _ (prims_trans _ _ _ _ _ E) G). unfold root_thread. peel.
  Qed.

  (** The states that steps lead to: whatever entries on whatever cores at whatever times, and every choice that is allowed. *)
  Inductive reachable : state -> Prop :=
    | reach_boot : reachable boot
    | reach_step i at_ x choice s t : reachable s -> step i at_ x choice s = Some t -> reachable t.

  Theorem reachable_good s : reachable s -> good s.
  Proof. induction 1; [exact boot_good|]. eapply prims_good; [eapply step_prims; eassumption|assumption]. Qed.
End Boot.
