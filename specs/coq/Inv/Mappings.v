(** Translations exist for attached Regions only, and permit no more than the Region (property 7). *)
From Ecusson Require Export Inv.Pages.

Record maps_ok (s : state) : Prop := {
  m_entry : forall sp v e, get2 sp v (ptes s) = Some e ->
    exists a f n max device depth up i, get (p_region e) (atts s) = Some a
      /\ body_of (p_region e) s = Some (BRegion f n max device depth up)
      /\ a_space a = sp /\ i < a_mapped a /\ v = a_page a + i /\ p_frame e = f + i /\ p_rights e = a_rights a;
  m_att : forall r a, get r (atts s) = Some a ->
    is_kind Space (a_space a) s = true /\
    exists f n max device depth up, body_of r s = Some (BRegion f n max device depth up)
      /\ a_mapped a <= n /\ subset (a_rights a) (N.land max ACCESS)
}.

Lemma maps_keep s t : ptes t = ptes s -> atts t = atts s ->
  (forall a b, body_of a s = Some b -> body_kind b = Region -> body_of a t = Some b) ->
  (forall a, is_kind Space a s = true -> is_kind Space a t = true) -> maps_ok s -> maps_ok t.
Proof.
  intros P A B K [M1 M2]. split.
  - intros sp v e. rewrite P. intro G. destruct (M1 _ _ _ G) as (a & f & n & max & d & dep & up & i & G' & Q & R).
    exists a, f, n, max, d, dep, up, i. rewrite A. repeat split; try apply R; auto.
  - intros r a. rewrite A. intro G. destruct (M2 _ _ G) as (S & f & n & max & d & dep & up & Q & R). split; [auto|].
    exists f, n, max, d, dep, up. repeat split; try apply R; auto.
Qed.

Lemma map_pages sp r f page q l m sp' v e : get2 sp' v (fold_left (map_page sp r f page q) l m) = Some e ->
  (sp' = sp /\ exists i, In i l /\ v = page + i /\ e = Pte (f + i) q r) \/ get2 sp' v m = Some e.
Proof.
  revert m. induction l as [|i l IH]; intro m; cbn [fold_left]; [auto|]. intro G. apply IH in G.
  destruct G as [(E & j & I & R)|G]; [left; split; [exact E|exists j; split; [now right|exact R]]|].
  unfold map_page in G. rewrite get2_set2 in G. destruct (_ && _) eqn:T; [|auto]. ands. subst. injection G as <-.
  left. split; [reflexivity|]. exists i. split; [now left|auto].
Qed.
Lemma unmap_pages sp page l m sp' v e : get2 sp' v (fold_left (unmap_page sp page) l m) = Some e ->
  get2 sp' v m = Some e /\ (sp' = sp -> forall i, In i l -> v <> page + i).
Proof.
  revert m. induction l as [|i l IH]; intro m; cbn [fold_left]; [easy|]. intro G. apply IH in G. destruct G as [G N].
  unfold unmap_page in G. rewrite get2_del2 in G. destruct (_ && _) eqn:T; [discriminate|]. split; [exact G|].
  intros -> j [->|I]; [|now apply N]. intros ->. now rewrite !N.eqb_refl in T.
Qed.

Lemma is_kind_body k a s b : body_of a s = Some b -> is_kind k a s = kind_eqb (body_kind b) k.
Proof. unfold is_kind. now intros ->. Qed.

Lemma maps_add a b d i r s : has_obj a s = false -> maps_ok s -> maps_ok (add_object a b d i r s).
Proof.
  intros H. assert (body_of a s = None) as N by (unfold body_of; now rewrite has_obj_false).
  apply maps_keep; auto.
  - intros x y B _. rewrite body_of_add. destruct (N.eqb_spec x a) as [->|]; [congruence|exact B].
  - intros x. unfold is_kind. rewrite body_of_add. destruct (N.eqb_spec x a) as [->|]; [now rewrite N|auto].
Qed.
Lemma maps_set_memory m f n next end_ primal b s : body_of m s = Some (BMemory f n next end_ primal) -> body_kind b = Memory ->
  maps_ok s -> maps_ok (set_body m b s).
Proof.
  intros B K. apply maps_keep.
  - unfold set_body. now destruct (get m (objs s)).
  - unfold set_body. now destruct (get m (objs s)).
  - intros x y X R. rewrite body_of_set by congruence. destruct (N.eqb_spec x m) as [->|]; [|exact X].
    rewrite B in X. injection X as <-. discriminate.
  - intro x. unfold is_kind. rewrite body_of_set by congruence. destruct (N.eqb_spec x m) as [->|]; [|auto]. now rewrite B.
Qed.

Lemma maps_att_map r count s : maps_ok s -> maps_ok (att_map r count s).
Proof.
  intros M. pose proof M as [M1 M2]. unfold att_map. destruct (body_of r s) as [[|f n max d dep up| | | | | | |]|] eqn:B; try exact M.
  destruct (get r (atts s)) as [a|] eqn:A; [|exact M]. cbv zeta. destruct (_ && _) eqn:G; [|exact M]. ands.
  split; unfold body_of, is_kind in *; fields.
  - intros sp v e E. apply map_pages in E. destruct E as [(-> & i & I & -> & ->)|E].
    + apply in_upto in I. rewrite N2Nat.id in I. cbn. exists (Att (a_space a) (a_page a) (a_rights a) (a_mapped a + count) (a_flush a) (a_stamp a)).
      exists f, n, max, d, dep, up, i. rewrite get_set, N.eqb_refl. cbn. repeat split; auto; lia.
    + destruct (M1 _ _ _ E) as (a' & f' & n' & max' & d' & dep' & up' & i & A' & B' & R). rewrite get_set.
      destruct (N.eqb_spec (p_region e) r) as [Q|].
      * rewrite Q in *. rewrite A in A'. injection A' as <-. rewrite B in B'. injection B' as <- <- <- <- <- <-.
        eexists. exists f, n, max, d, dep, up, i. split; [reflexivity|]. cbn. repeat split; try apply R; auto. destruct R; lia.
      * exists a', f', n', max', d', dep', up', i. repeat split; try apply R; auto.
  - intros x y. rewrite get_set. destruct (N.eqb_spec x r) as [->|]; [|apply M2]. intros [= <-]. cbn.
    destruct (M2 _ _ A) as (S & f' & n' & max' & d' & dep' & up' & B' & R). rewrite B in B'. injection B' as <- <- <- <- <- <-.
    split; [exact S|]. exists f, n, max, d, dep, up. repeat split; auto. apply R.
Qed.

Lemma maps_att_unmap r count g s : maps_ok s -> maps_ok (att_unmap r count g s).
Proof.
  intros M. pose proof M as [M1 M2]. unfold att_unmap. destruct (get r (atts s)) as [a|] eqn:A; [|exact M].
  destruct (_ <=? _) eqn:G; [|exact M]. ands. split; unfold body_of, is_kind in *; fields.
  - intros sp v e E. apply unmap_pages in E. destruct E as [E N].
    destruct (M1 _ _ _ E) as (a' & f' & n' & max' & d' & dep' & up' & i & A' & B' & S & L & V & R). rewrite get_set.
    destruct (N.eqb_spec (p_region e) r) as [Q|].
    + rewrite Q in *. rewrite A in A'. injection A' as <-. eexists. exists f', n', max', d', dep', up', i. split; [reflexivity|]. cbn.
      repeat split; try apply R; auto. destruct (N.lt_ge_cases i (a_mapped a - count)) as [|K]; [assumption|].
      exfalso. apply (N (eq_sym S) i); [|exact V]. apply in_upto. rewrite N2Nat.id. lia.
    + exists a', f', n', max', d', dep', up', i. repeat split; try apply R; auto.
  - intros x y. rewrite get_set. destruct (N.eqb_spec x r) as [->|]; [|apply M2]. intros [= <-]. cbn.
    destruct (M2 _ _ A) as (S & f' & n' & max' & d' & dep' & up' & B' & L & R). split; [exact S|].
    exists f', n', max', d', dep', up'. repeat split; auto. lia.
Qed.

Lemma maps_att_begin r sp page q s : maps_ok s -> maps_ok (att_begin r sp page q s).
Proof.
  intros M. pose proof M as [M1 M2]. unfold att_begin. destruct (body_of r s) as [[|f n max d dep up| | | | | | |]|] eqn:B; try exact M.
  destruct (_ && _) eqn:G; [|exact M]. ands. apply has_false in H1 || idtac. split; unfold body_of, is_kind in *; fields.
  - intros sp' v e E. destruct (M1 _ _ _ E) as (a' & f' & n' & max' & d' & dep' & up' & i & A' & R).
    exists a', f', n', max', d', dep', up', i. rewrite get_set. destruct (N.eqb_spec (p_region e) r) as [Q|]; [|auto].
    exfalso. match goal with H : has r (atts s) = false |- _ => apply has_false in H; congruence | H : get r (atts s) = None |- _ => congruence end.
  - intros x y. rewrite get_set. destruct (N.eqb_spec x r) as [->|]; [|apply M2]. intros [= <-]. cbn. split; [assumption|].
    exists f, n, max, d, dep, up. repeat split; auto; [lia|]. now apply holds_subset.
Qed.

Lemma maps_att_end r s : maps_ok s -> maps_ok (att_end r s).
Proof.
  intros M. pose proof M as [M1 M2]. unfold att_end. destruct (get r (atts s)) as [a|] eqn:A; [|exact M].
  destruct (_ =? 0) eqn:G; [|exact M]. ands. split; unfold body_of, is_kind in *; fields.
  - intros sp v e E. destruct (M1 _ _ _ E) as (a' & f' & n' & max' & d' & dep' & up' & i & A' & B' & S & L & R).
    exists a', f', n', max', d', dep', up', i. rewrite get_del. destruct (N.eqb_spec (p_region e) r) as [Q|]; [|auto].
    exfalso. rewrite Q, A in A'. injection A' as <-. lia.
  - intros x y. rewrite get_del. destruct (x =? r); [discriminate|apply M2].
Qed.

Lemma maps_remove x s : maps_ok s -> maps_ok (remove_object x s).
Proof.
  intros M. pose proof M as [M1 M2]. unfold remove_object. destruct (get x (objs s)) as [o|] eqn:G; [|exact M].
  destruct (_ && _) eqn:E; [|exact M]. ands. unfold is_linked in *. ands.
  match goal with H : has x (atts s) = false |- _ => apply has_false in H; rename H into NA end.
  match goal with H : any (fun _ t => a_space t =? x) (atts s) = false |- _ => rename H into NS end.
  unfold forget. split; unfold body_of, is_kind, body_of in *; fields.
  - intros sp v e. rewrite get2_del. destruct (sp =? x); [discriminate|]. intro T.
    destruct (M1 _ _ _ T) as (a' & f' & n' & max' & d' & dep' & up' & i & A' & B' & R).
    exists a', f', n', max', d', dep', up', i. rewrite get_del. destruct (N.eqb_spec (p_region e) x) as [Q|]; [congruence|]. auto.
  - intros r a A. destruct (M2 _ _ A) as (S & f' & n' & max' & d' & dep' & up' & B' & R). rewrite !get_del. split.
    + destruct (N.eqb_spec (a_space a) x) as [Q|]; [|exact S]. exfalso.
      pose proof (any_false _ _ _ _ NS A) as F. cbn in F. now rewrite Q, N.eqb_refl in F.
    + exists f', n', max', d', dep', up'. destruct (N.eqb_spec r x) as [Q|]; [congruence|]. auto.
Qed.

Theorem prim_maps_ok l s t : prim l s t -> maps_ok s -> maps_ok t.
Proof.
  intros p M. destruct p;
    try (open_prims; split_guards; first [exact M | apply (maps_keep s); auto; fail]; fail);
    auto using maps_att_map, maps_att_unmap, maps_att_begin, maps_att_end, maps_remove.
  - unfold new_simple. destruct (_ && _) eqn:G; [|exact M]. unfold can_add in G. ands. now apply maps_add.
  - unfold new_upper. destruct (body_of m s) as [[f p next end_ primal| | | | | | | |]|] eqn:B; try exact M.
    destruct (_ && _) eqn:G; [|exact M]. unfold can_add in G. ands. apply maps_add.
    + unfold has_obj, set_body in *. destruct (get m (objs s)); fields; [|assumption]. unfold has in *. rewrite get_set.
      destruct (N.eqb_spec a m); [congruence|assumption].
    + eapply maps_set_memory; eauto.
  - unfold new_slice. destruct (body_of parent s) as [[| | | | | | | |]|]; try exact M. destruct (_ && _) eqn:G; [|exact M].
    unfold can_add in G. ands. now apply maps_add.
  - unfold new_device. destruct (_ && _) eqn:G; [|exact M]. unfold can_add in G. ands. now apply maps_add.
  - unfold condemn. destruct (get a (objs s)) as [o|] eqn:G; [|exact M].
    assert (forall x, body_of x (with_objs (set a (Object (o_epoch o) false (o_body o)) (objs s)) s) = body_of x s) as S.
    { intro x. unfold body_of. fields. rewrite get_set. destruct (N.eqb_spec x a) as [->|]; [now rewrite G|reflexivity]. }
    apply (maps_keep s); auto; intros x; unfold is_kind; rewrite S; auto.
  - unfold take_next. destruct (body_of m s) as [[fi n next end_ primal| | | | | | | |]|] eqn:B; try exact M.
    destruct (next <? end_); [|exact M].
    apply (maps_keep (set_body m (BMemory fi n (N.succ next) end_ primal) s)); auto. eapply maps_set_memory; eauto.
  - unfold refill. destruct (body_of m s) as [[fi n next end_ primal| | | | | | | |]|] eqn:B; try exact M.
    destruct (is_claimed _ _ _ _); [exact M|]. eapply maps_set_memory; eauto.
Qed.
