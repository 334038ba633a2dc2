(** Capabilities: rights shrink, where they come from, and that epochs that have passed stay so (properties 1, 2, 3). *)
From Ecusson Require Export Inv.Tactics.

(** An object of that epoch lives at that address. *)
Definition lives_at (a e : N) (s : state) : Prop :=
  exists o, get a (objs s) = Some o /\ o_alive o = true /\ o_epoch o = e.

(** What has become of the capabilities and epochs of an earlier state. *)
Record descends (s0 s : state) : Prop := {
  d_epochs : epochs s0 <= epochs s;
  d_dead : forall a e, e <= epochs s0 -> lives_at a e s -> lives_at a e s0;
  d_rights : forall d i c, slot_of d i s = Some c ->
    slot_of d i s0 = Some c \/ epochs s0 < c_epoch c \/
    exists d0 i0 c0, slot_of d0 i0 s0 = Some c0 /\ holds (c_rights c0) GRANT = true /\
      c_addr c = c_addr c0 /\ c_kind c = c_kind c0 /\ c_epoch c = c_epoch c0 /\ subset (c_rights c) (c_rights c0)
}.

Lemma descends_refl s : descends s s.
Proof. split; auto. lia. Qed.

Lemma descends_same s0 s t :
  epochs t = epochs s -> objs t = objs s -> slots t = slots s -> descends s0 s -> descends s0 t.
Proof.
  intros E O S [D1 D2 D3]. split.
  - now rewrite E.
  - intros a e. unfold lives_at. rewrite O. apply D2.
  - intros d i c. unfold slot_of. rewrite S. apply D3.
Qed.

Lemma descends_objs s0 s t :
  epochs t = epochs s -> slots t = slots s -> (forall a e, lives_at a e t -> lives_at a e s) -> descends s0 s -> descends s0 t.
Proof.
  intros E S O [D1 D2 D3]. split; [now rewrite E| intros a e L K; apply D2; auto |].
  intros d i c. unfold slot_of. rewrite S. apply D3.
Qed.

Lemma descends_add s0 s a b d i r :
  descends s0 s -> descends s0 (add_object a b d i r s).
Proof.
  intros [D1 D2 D3]. unfold add_object. split; fields.
  - lia.
  - intros a' e L [o [G [A E]]]. fields. rewrite get_set in G. destruct (N.eqb_spec a' a).
    + injection G as <-. cbn in E. lia.
    + apply D2; [exact L|]. now exists o.
  - intros d' i' c. unfold slot_of. fields. rewrite get2_set2. destruct (_ && _); [|apply D3].
    intros [= <-]. cbn. right. left. lia.
Qed.

Lemma descends_body s0 s a b : descends s0 s -> descends s0 (set_body a b s).
Proof.
  intro H. unfold set_body. destruct (get a (objs s)) as [o|] eqn:E; [|exact H].
  apply (descends_objs s0 s); auto. intros a' e [o' [G [A L]]]. fields. rewrite get_set in G.
  destruct (N.eqb_spec a' a) as [->|]; [|now exists o']. injection G as <-. now exists o.
Qed.

Lemma descends_copy s0 s d i e j mask : descends s0 s -> descends s0 (copy_cap d i e j mask s).
Proof.
  intro H. unfold copy_cap. destruct (slot_of d i s) as [c|] eqn:C; [|exact H].
  destruct (_ && _) eqn:G; [|exact H]. ands. destruct H as [D1 D2 D3]. split; fields; auto.
  intros d' i' c'. unfold slot_of. fields. rewrite get2_set2. destruct (_ && _); [|apply D3].
  intros [= <-]. right. destruct (D3 _ _ _ C) as [K|[K|(d0 & i0 & c0 & K & GR & A & B & E & S)]].
  - right. exists d, i, c. cbn. repeat split; auto. apply subset_land_l.
  - left. exact K.
  - right. exists d0, i0, c0. cbn. repeat split; auto. eapply subset_trans; [apply subset_land_l|exact S].
Qed.

Lemma descends_del s0 s m : descends s0 s ->
  (forall d i c, get2 d i m = Some c -> slot_of d i s = Some c) -> descends s0 (with_slots m s).
Proof.
  intros [D1 D2 D3] K. split; [exact D1|exact D2|]. intros d i c G. exact (D3 _ _ _ (K _ _ _ G)).
Qed.

Theorem prim_descends s0 l s t : prim l s t -> descends s0 s -> descends s0 t.
Proof.
  intros p H. destruct p; try (open_prims; split_guards; first [exact H | apply (descends_same s0 s); auto; fail]; fail).
  - unfold new_simple. split_guards; auto using descends_add.
  - unfold new_upper. split_guards; auto using descends_add, descends_body.
  - unfold new_slice. split_guards; auto using descends_add.
  - unfold new_device. split_guards; auto using descends_add.
  - auto using descends_copy.
  - unfold send_cap. split_guards; auto using descends_copy.
  - unfold drop_cap. apply descends_del; [exact H|]. intros d' i' c. rewrite get2_del2. now destruct (_ && _).
  - unfold condemn. destruct (get a (objs s)) as [o|] eqn:E; [|exact H]. apply (descends_objs s0 s); auto.
    intros a' e [o' [G [A L]]]. fields. rewrite get_set in G. destruct (N.eqb_spec a' a); [|now exists o'].
    injection G as <-. discriminate.
  - unfold remove_object. destruct (get a (objs s)) as [o|] eqn:E; [|exact H]. destruct (_ && _); [|exact H].
    assert (descends s0 (with_slots (del a (slots s)) s)) as K.
    { apply descends_del; [exact H|]. intros d i c. rewrite get2_del. now destruct (d =? a). }
    unfold forget. apply (descends_objs s0 (with_slots (del a (slots s)) s)); auto.
    intros a' e [o' [G L]]. fields. rewrite get_del in G. destruct (a' =? a); [discriminate|]. now exists o'.
  - unfold take_next. split_guards; auto. apply (descends_same s0 (set_body m (BMemory first pages (N.succ next) end_ primal) s));
      auto using descends_body.
  - unfold refill. split_guards; auto using descends_body.
Qed.

Theorem prims_descend A s t : prims A s t -> descends s t.
Proof. intro H. refine (prims_keep A (descends s) _ s t H (descends_refl s)). intros. eapply prim_descends; eauto. Qed.

(** ** Where a capability that was not there before came from *)

(** It arrived in slot [i] of [d] between [s] and [t] by what [A] permits. *)
Inductive arrived (A : label -> Prop) (s : state) (d i : N) (c : cap) : Prop :=
  | by_creation : A (Created d i) -> epochs s < c_epoch c -> arrived A s d i c
  | by_grant e j : A (Granted e j d i) -> arrived A s d i c
  | by_message m u j v : A (Sent u j v i) -> prims A s m -> (* at some moment m of the step, *)
      in_call u v m = true ->                               (* u and v were caller and server of a call, *)
      t_receive (thr v m) = N.succ i ->                     (* v had opened the slot, *)
      domain_of v m = d -> arrived A s d i c.

Lemma arrival_same A s t u d i c :
  slots u = slots t -> (slot_of d i t = Some c -> slot_of d i s = Some c \/ arrived A s d i c) ->
  slot_of d i u = Some c -> slot_of d i s = Some c \/ arrived A s d i c.
Proof. unfold slot_of. now intros ->. Qed.

Lemma copy_slot d i e j mask s d' i' c : slot_of d' i' (copy_cap d i e j mask s) = Some c ->
  slot_of d' i' s = Some c \/ (d' = e /\ i' = j).
Proof.
  unfold copy_cap. destruct (slot_of d i s) as [c0|] eqn:C; [|auto]. destruct (_ && _); [|auto].
  unfold slot_of. fields. rewrite get2_set2. destruct (_ && _) eqn:E; [|auto]. ands. auto.
Qed.

Theorem prims_arrive A s t : prims A s t ->
  forall d i c, slot_of d i t = Some c -> slot_of d i s = Some c \/ arrived A s d i c.
Proof.
  intro H. induction H as [s|l s t u H IH L p]; [auto|]. intros d i c.
  assert (epochs s <= epochs t) as E by apply (d_epochs _ _ (prims_descend A s t H)).
  assert (forall a b d' i' r, A (Created d' i') -> forall t', epochs t' = epochs t -> slots t' = slots t ->
    slot_of d i (add_object a b d' i' r t') = Some c -> slot_of d i s = Some c \/ arrived A s d i c) as Add.
  { intros a b d' i' r P t' E' S'. unfold add_object, slot_of. fields. rewrite get2_set2, E', S'. destruct (_ && _) eqn:Q; [|apply IH].
    ands. subst. intros [= <-]. right. apply by_creation; [exact P|cbn; lia]. }
  assert (forall a b, slots (set_body a b t) = slots t /\ epochs (set_body a b t) = epochs t) as Body.
  { intros. unfold set_body. now destruct (get a (objs t)). }
  destruct p; try (eapply arrival_same; [|apply IH]; open_prims; split_guards; reflexivity);
    (destruct L as [L|L]; [try discriminate L|]).
  - unfold new_simple. split_guards; eauto.
  - unfold new_upper. split_guards; eauto. apply Add; [exact L|apply Body|apply Body].
  - unfold new_slice. split_guards; eauto.
  - unfold new_device. split_guards; eauto.
  - intro C. apply copy_slot in C. destruct C as [C|[-> ->]]; [auto|]. right. now apply (by_grant A s e j c d0 i0).
  - unfold send_cap. destruct (_ && _) eqn:G; [|apply IH]. ands. intro C. apply copy_slot in C.
    destruct C as [C|[-> ->]]; [auto|]. right. now apply (by_message A s _ _ c s0 t i0 u).
  - unfold drop_cap, slot_of. fields. rewrite get2_del2. destruct (_ && _); [discriminate|]. apply IH.
  - unfold drop_cap, slot_of. fields. rewrite get2_del2. destruct (_ && _); [discriminate|]. apply IH.
  - unfold remove_object. destruct (get a (objs s0)); [|apply IH]. destruct (_ && _); [|apply IH].
    unfold forget, slot_of. fields. rewrite get2_del. destruct (_ =? _); [discriminate|]. apply IH.
  - unfold remove_object. destruct (get a (objs s0)); [|apply IH]. destruct (_ && _); [|apply IH].
    unfold forget, slot_of. fields. rewrite get2_del. destruct (_ =? _); [discriminate|]. apply IH.
Qed.
