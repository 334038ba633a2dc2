(** Links name objects that exist; so an object that has ended is named by nobody (property 3, second half). *)
From Ecusson Require Export Inv.Time Inv.Mappings.

Definition exists_at (a : N) (s : state) : Prop := body_of a s <> None.

Record links_ok (s : state) : Prop := {
  l_bodies : forall a b, body_of a s = Some b -> forall x, body_names x b = true -> exists_at x s;
  l_homes : forall x t, get x (homes s) = Some t -> exists_at x s /\ exists_at t s;
  l_servers : forall p t, get p (servers s) = Some t -> exists_at p s /\ exists_at t s;
  l_bound : forall n t, get n (bound s) = Some t -> exists_at n s /\ exists_at t s;
  l_calls : forall c k, get c (calls s) = Some k -> exists_at c s /\ exists_at (k_server k) s;
  l_stacks : forall x l, get x (stacks s) = Some l -> exists_at x s /\ forall t, In t l -> exists_at t s;
  l_slots : forall d i c, slot_of d i s = Some c -> exists_at d s;
  l_current : forall i c t, get i (cores s) = Some c -> r_current c = Some t -> exists_at t s
}.

Lemma links_keep s t :
  homes t = homes s -> servers t = servers s -> bound t = bound s -> calls t = calls s -> stacks t = stacks s -> cores t = cores s ->
  (forall d i c, slot_of d i t = Some c -> slot_of d i s = Some c \/ exists_at d s) ->
  (forall a, exists_at a s -> exists_at a t) ->
  (forall a b x, body_of a t = Some b -> body_names x b = true -> body_of a s = Some b \/ exists_at x s) -> links_ok s -> links_ok t.
Proof.
  intros H V B C S R L E N [L1 L2 L3 L4 L5 L6 L7 L8]. split; rewrite ?H, ?V, ?B, ?C, ?S, ?R.
  - intros a b G x Q. destruct (N _ _ _ G Q); eauto.
  - intros x t' G. destruct (L2 _ _ G). auto.
  - intros x t' G. destruct (L3 _ _ G). auto.
  - intros x t' G. destruct (L4 _ _ G). auto.
  - intros x t' G. destruct (L5 _ _ G). auto.
  - intros x l G. destruct (L6 _ _ G). auto.
  - intros d i c G. destruct (L _ _ _ G); eauto.
  - intros i c t' G Q. eauto.
Qed.

Lemma exists_kind k a s : is_kind k a s = true -> exists_at a s.
Proof. unfold is_kind, exists_at. destruct (body_of a s); congruence. Qed.
Lemma exists_slot d i s : slot_is_free d i s = true -> exists_at d s.
Proof.
  unfold slot_is_free, table_size, exists_at. intros H K. rewrite K in H. destruct (i <? 0) eqn:E; [|discriminate].
  apply N.ltb_lt in E. lia.
Qed.

Lemma links_add a b d i r s : links_ok s -> has_obj a s = false -> exists_at d s ->
  (forall x, body_names x b = true -> exists_at x s) -> links_ok (add_object a b d i r s).
Proof.
  intros L H D B. apply (links_keep s); auto.
  - intros d' i' c. unfold slot_of, add_object. fields. rewrite get2_set2. destruct (_ && _) eqn:E; [|auto]. ands. subst. auto.
  - intro x. unfold exists_at. rewrite body_of_add. now destruct (x =? a).
  - intros x y z. rewrite body_of_add. destruct (x =? a); [|auto]. intros [= <-]. auto.
Qed.

Lemma links_set_memory m f n next end_ primal b s : body_of m s = Some (BMemory f n next end_ primal) ->
  (forall x, body_names x b = false) -> links_ok s -> links_ok (set_body m b s).
Proof.
  intros B N. apply links_keep; try (unfold set_body; destruct (get m (objs s)); reflexivity).
  - intros d i c. unfold slot_of, set_body. destruct (get m (objs s)); auto.
  - intro x. unfold exists_at. rewrite body_of_set by congruence. now destruct (x =? m).
  - intros x y z. rewrite body_of_set by congruence. destruct (x =? m); [|auto]. intros [= <-]. now rewrite N.
Qed.

Lemma set_exists {A} (P : N -> A -> Prop) k (v : A) m :
  P k v -> (forall x y, get x m = Some y -> P x y) -> forall x y, get x (set k v m) = Some y -> P x y.
Proof. intros K M x y. rewrite get_set. destruct (N.eqb_spec x k) as [->|]; [intros [= <-]; exact K|apply M]. Qed.
Lemma del_exists {A} (P : N -> A -> Prop) k (m : map A) :
  (forall x y, get x m = Some y -> P x y) -> forall x y, get x (del k m) = Some y -> P x y.
Proof. intros M x y. rewrite get_del. destruct (x =? k); [discriminate|apply M]. Qed.

Lemma links_remove a s : links_ok s -> links_ok (remove_object a s).
Proof.
  intros L. pose proof L as [L1 L2 L3 L4 L5 L6 L7 L8]. unfold remove_object. destruct (get a (objs s)) as [o|] eqn:G; [|exact L].
  destruct (_ && _) eqn:E; [|exact L]. ands. unfold is_linked, link_names in *. ands.
  set (t := with_objs _ _).
  assert (forall x, body_of x t = if x =? a then None else body_of x s) as S.
  { intro x. unfold body_of, t, forget. fields. rewrite get_del. now destruct (x =? a). }
  assert (forall x, exists_at x s -> x <> a -> exists_at x t) as K.
  { intros x X ne. unfold exists_at. rewrite S. destruct (N.eqb_spec x a); congruence. }
  assert (forall m x (v : N), any (fun _ v => v =? a) m = false -> get x m = Some v -> v <> a) as V.
  { intros m x v F Q ->. pose proof (any_false _ _ _ _ F Q) as T. cbn in T. now rewrite N.eqb_refl in T. }
  assert (forall A x (m : map A) v, has a m = false -> get x m = Some v -> x <> a) as U.
  { intros A x m v F Q ->. apply has_false in F. congruence. }
  split; change (homes t) with (homes s); change (servers t) with (servers s); change (bound t) with (bound s);
    change (calls t) with (calls s); change (stacks t) with (stacks s); change (cores t) with (cores s).
  - intros x b. rewrite S. destruct (x =? a); [discriminate|]. intros B y N. apply K; [eauto|]. intros ->.
    apply body_of_get in B. destruct B as (o' & Q & <-).
    match goal with F : any (fun _ o => body_names a (o_body o)) (objs s) = false |- _ => pose proof (any_false _ _ _ _ F Q) as T end.
    cbn in T. congruence.
  - intros x v Q. destruct (L2 _ _ Q). split; apply K; eauto.
  - intros x v Q. destruct (L3 _ _ Q). split; apply K; eauto.
  - intros x v Q. destruct (L4 _ _ Q). split; apply K; eauto.
  - intros x k Q. destruct (L5 _ _ Q). split; apply K; eauto. intro Y.
    match goal with F : any (fun _ k => k_server k =? a) (calls s) = false |- _ => pose proof (any_false _ _ _ _ F Q) as T end.
    cbn in T. now rewrite Y, N.eqb_refl in T.
  - intros x l Q. destruct (L6 _ _ Q) as [X Y]. split; [apply K; eauto|]. intros v I. apply K; [auto|]. intros ->.
    eapply not_in_stack; eauto.
  - intros d i c. unfold slot_of, t, forget. fields. rewrite get2_del. destruct (N.eqb_spec d a); [discriminate|]. intro Q.
    apply K; eauto.
  - intros i c v Q R. apply K; [eauto|]. intros ->.
    match goal with F : any _ (cores s) = false |- _ => pose proof (any_false _ _ _ _ F Q) as T end.
    cbn in T. now rewrite R, N.eqb_refl in T.
Qed.

Theorem prim_links_ok l s t : prim l s t -> stacks_ok s -> links_ok s -> links_ok t.
Proof.
  intros p K L. pose proof L as [L1 L2 L3 L4 L5 L6 L7 L8]. destruct p;
    try (open_prims; split_guards; first [exact L | apply (links_keep s); auto; fail]; fail); auto using links_remove.
  - unfold new_simple. destruct (_ && _) eqn:G; [|exact L]. unfold can_add in G. ands. apply links_add; eauto using exists_slot.
    intros x N. destruct b; try discriminate; cbn in *; ands; subst; eauto using exists_kind.
  - unfold new_upper. destruct (body_of m s) as [[f p next end_ primal| | | | | | | |]|] eqn:B; try exact L.
    destruct (_ && _) eqn:G; [|exact L]. unfold can_add in G. ands. apply links_add.
    + eapply links_set_memory; eauto.
    + unfold has_obj, set_body in *. destruct (get m (objs s)); fields; [|assumption]. unfold has in *. rewrite get_set.
      destruct (N.eqb_spec a m); [congruence|assumption].
    + unfold exists_at. rewrite body_of_set by congruence. destruct (d =? m); [congruence|].
      match goal with F : slot_is_free d i s = true |- _ => exact (exists_slot _ _ _ F) end.
    + now destruct u.
  - unfold new_slice. destruct (body_of parent s) as [[| | | | | | | |]|] eqn:B; try exact L. destruct (_ && _) eqn:G; [|exact L].
    unfold can_add in G. ands. apply links_add; eauto using exists_slot. cbn. intros x E. ands. subst. unfold exists_at. congruence.
  - unfold new_device. destruct (_ && _) eqn:G; [|exact L]. unfold can_add in G. ands. apply links_add; eauto using exists_slot. easy.
  - unfold copy_cap. destruct (slot_of d i s); [|exact L]. destruct (_ && _) eqn:G; [|exact L]. ands. apply (links_keep s); auto.
    intros d' i' c'. unfold slot_of. fields. rewrite get2_set2. destruct (_ && _) eqn:E; [|auto]. ands. subst. eauto using exists_slot.
  - unfold send_cap, copy_cap. destruct (_ && _); [|exact L]. destruct (slot_of _ i s); [|exact L]. destruct (_ && _) eqn:G; [|exact L].
    ands. apply (links_keep s); auto.
    intros d' i' c'. unfold slot_of. fields. rewrite get2_set2. destruct (_ && _) eqn:E; [|auto]. ands. subst. eauto using exists_slot.
  - apply (links_keep s); auto. intros d' i' c. unfold drop_cap, slot_of. fields. rewrite get2_del2.
    destruct (_ && _); [discriminate|auto].
  - unfold condemn. destruct (get a (objs s)) as [o|] eqn:G; [|exact L].
    assert (forall x, body_of x (with_objs (set a (Object (o_epoch o) false (o_body o)) (objs s)) s) = body_of x s) as S.
    { intro x. unfold body_of. fields. rewrite get_set. destruct (N.eqb_spec x a) as [->|]; [now rewrite G|reflexivity]. }
    apply (links_keep s); auto; intros x; unfold exists_at; [now rewrite S|]. intros b y. rewrite S. auto.
  - unfold take_next. destruct (body_of m s) as [[fi n next end_ primal| | | | | | | |]|] eqn:B; try exact L.
    destruct (next <? end_); [|exact L].
    apply (links_keep (set_body m (BMemory fi n (N.succ next) end_ primal) s)); auto. eapply links_set_memory; eauto.
  - unfold refill. destruct (body_of m s) as [[fi n next end_ primal| | | | | | | |]|] eqn:B; try exact L.
    destruct (is_claimed _ _ _ _); [exact L|]. eapply links_set_memory; eauto.
  - unfold call_begin. destruct (_ && _) eqn:G; [|exact L]. ands. split; fields; auto. apply set_exists; [|exact L5]. cbn.
    split; eauto using exists_kind.
  - unfold call_serve. destruct (get c (calls s)) eqn:G; [|exact L]. destruct (_ && _); [|exact L]. split; fields; auto.
    apply set_exists; [|exact L5]. cbn. now apply L5.
  - unfold call_end. destruct (has _ _); [|exact L]. split; fields; auto. now apply del_exists.
  - unfold run_own. destruct (own_of t s) as [x|] eqn:O; [|exact L]. destruct (stack_of x s); [|exact L].
    destruct (in_some_stack t s); [exact L|]. apply own_of_spec in O. destruct (L2 _ _ O). split; fields; auto.
    apply set_exists; [|exact L6]. split; [assumption|]. intros v [<-|[]]. assumption.
  - unfold lend. destruct (held_by c s) as [x|] eqn:O; [|exact L]. destruct (_ || _) eqn:F; [exact L|]. ands.
    apply negb_false_iff in H0. apply held_by_spec in O. destruct O as [r O]. destruct (L6 _ _ O) as [X Y]. split; fields; auto.
    apply set_exists; [|exact L6]. split; [exact X|]. unfold stack_of. rewrite O. intros w [<-|I]; [exact (exists_kind _ _ _ H0)|exact (Y w I)].
  - unfold take_back. destruct (lent_by c s) as [x|] eqn:O; [|exact L]. apply lent_by_spec in O. destruct O as (h & r & O & I).
    destruct (L6 _ _ O) as [X Y]. split; fields; auto. apply set_exists; [|exact L6]. split; [exact X|]. unfold stack_of. rewrite O.
    intros w J. exact (Y w (from_incl _ _ _ J)).
  - unfold let_go. destruct (held_by t s) as [x|]; [|exact L]. destruct (stack_of x s) as [|? []]; try exact L.
    split; fields; auto. now apply del_exists.
  - unfold bind_home. destruct (_ && _) eqn:G; [|exact L]. ands. split; fields; auto. apply set_exists; [|exact L2]. eauto using exists_kind.
  - unfold unbind_home. split; fields; auto; now apply del_exists.
  - unfold set_server. destruct (_ && _) eqn:G; [|exact L]. ands. split; fields; auto. apply set_exists; [|exact L3]. eauto using exists_kind.
  - unfold unset_server. split; fields; auto. now apply del_exists.
  - unfold bind_note. destruct (_ && _) eqn:G; [|exact L]. ands. split; fields; auto. apply set_exists; [|exact L4]. eauto using exists_kind.
  - unfold unbind_note. split; fields; auto. now apply del_exists.
  - unfold set_current. destruct t as [t|].
    + destruct (is_kind Thread t s) eqn:E; [|exact L]. split; fields; auto. intros j c v. rewrite get_set.
      destruct (j =? i); [intros [= <-] [= <-]; eauto using exists_kind|apply L8].
    + split; fields; auto. intros j c v. rewrite get_set. destruct (j =? i); [intros [= <-]; discriminate|apply L8].
  - unfold set_clock. split; fields; auto. intros j c v. rewrite get_set. destruct (j =? i); [|apply L8]. intros [= <-]. cbn.
    unfold core_of. destruct (get i (cores s)) eqn:Q; [|discriminate]. apply (L8 _ _ _ Q).
Qed.

(** Something names the object at an address. *)
Inductive named (a : N) (s : state) : Prop :=
  | named_body b x : body_of x s = Some b -> body_names a b = true -> named a s
  | named_attached r t : get r (atts s) = Some t -> a = r \/ a = a_space t -> named a s
  | named_mapped sp v e : get2 sp v (ptes s) = Some e -> a = sp \/ a = p_region e -> named a s
  | named_home x t : get x (homes s) = Some t -> a = x \/ a = t -> named a s
  | named_server p t : get p (servers s) = Some t -> a = p \/ a = t -> named a s
  | named_bound n t : get n (bound s) = Some t -> a = n \/ a = t -> named a s
  | named_call c k : get c (calls s) = Some k -> a = c \/ a = k_server k -> named a s
  | named_stack x l : get x (stacks s) = Some l -> a = x \/ In a l -> named a s
  | named_slot i c : slot_of a i s = Some c -> named a s
  | named_current i c : get i (cores s) = Some c -> r_current c = Some a -> named a s.

Theorem named_exists a s : links_ok s -> maps_ok s -> named a s -> exists_at a s.
Proof.
  intros [L1 L2 L3 L4 L5 L6 L7 L8] [M1 M2] H.
  assert (forall r t, get r (atts s) = Some t -> a = r \/ a = a_space t -> exists_at a s) as Att.
  { intros r t G. destruct (M2 _ _ G) as (S & f & n & max & d & dep & up & B & _).
    intros [->| ->]; [unfold exists_at; congruence|eauto using exists_kind]. }
  destruct H as [b x B N|r t G E|sp v e G E|x t G E|p t G E|n t G E|c k G E|x l G E|i c G|i c G E]; eauto.
  - destruct (M1 _ _ _ G) as (t & f & n & max & d & dep & up & i & A & B & S & _). apply (Att _ _ A). rewrite S. tauto.
  - destruct (L2 _ _ G), E; subst; assumption.
  - destruct (L3 _ _ G), E; subst; assumption.
  - destruct (L4 _ _ G), E; subst; assumption.
  - destruct (L5 _ _ G), E; subst; assumption.
  - destruct (L6 _ _ G), E; subst; auto.
Qed.
