(** Scheduling contexts: one holder, at the top of a stack of lenders that begins at the context's own thread (property 14). *)
From Ecusson Require Export Inv.Tactics.

Record stacks_ok (s : state) : Prop := {
  (** A thread is in one stack at most, and there once: it holds or has lent one context. *)
  s_once : forall x l, get x (stacks s) = Some l -> NoDup l;
  s_one : forall x y l m t, get x (stacks s) = Some l -> get y (stacks s) = Some m -> In t l -> In t m -> x = y;
  (** The first lender is the context's own thread. *)
  s_home : forall x l, get x (stacks s) = Some l -> l <> [] /\ get x (homes s) = Some (last l 0);
  (** A context has at most one thread, and a thread one context, that is its own. *)
  s_own : forall x y t, get x (homes s) = Some t -> get y (homes s) = Some t -> x = y
}.

Lemma stacks_cases l s t : prim l s t ->
  (stacks t = stacks s /\ homes t = homes s) \/ (exists a, t = run_own a s) \/ (exists c v, t = lend c v s)
  \/ (exists c, t = take_back c s) \/ (exists a, t = let_go a s) \/ (exists x a, t = bind_home x a s) \/ (exists x, t = unbind_home x s).
Proof. intro p. destruct p; try (left; open_prims; split_guards; split; reflexivity); eauto 9. Qed.

Lemma not_in_stack t s x l : in_some_stack t s = false -> get x (stacks s) = Some l -> ~ In t l.
Proof.
  intros H G I. pose proof (any_false _ _ _ _ H G) as F. cbn in F.
  assert (existsb (N.eqb t) l = true) as E; [|congruence]. apply existsb_exists. exists t. split; [exact I|apply N.eqb_refl].
Qed.

Lemma from_incl c l t : In t (from c l) -> In t l.
Proof. induction l as [|h r IH]; cbn; [easy|]. destruct (h =? c); cbn; auto. Qed.
Lemma from_nodup c l : NoDup l -> NoDup (from c l).
Proof. induction l as [|h r IH]; cbn; [easy|]. intro H. destruct (h =? c); [exact H|]. apply IH. now inversion H. Qed.
Lemma from_last c l : In c l -> from c l <> [] /\ hd_error (from c l) = Some c /\ last (from c l) 0 = last l 0.
Proof.
  induction l as [|h r IH]; cbn [In from]; [easy|]. destruct (N.eqb_spec h c) as [->|n]; intro H; [easy|].
  destruct H as [|H]; [congruence|]. destruct (IH H) as (A & B & C). repeat split; auto.
  rewrite C. destruct r; [easy|reflexivity].
Qed.

Lemma lent_by_spec c x s : lent_by c s = Some x -> exists h r, get x (stacks s) = Some (h :: r) /\ In c r.
Proof.
  unfold lent_by. intro H. apply search_some in H. destruct H as ([|h r] & G & E); [discriminate|].
  apply existsb_exists in E. destruct E as (c' & I & E). ands. subst. eauto.
Qed.
Lemma held_by_spec c x s : held_by c s = Some x -> exists r, get x (stacks s) = Some (c :: r).
Proof.
  unfold held_by. intro H. apply search_some in H. destruct H as ([|h r] & G & E); [discriminate|]. ands. subst. eauto.
Qed.
Lemma own_of_spec t x s : own_of t s = Some x -> get x (homes s) = Some t.
Proof. unfold own_of. intro H. apply search_some in H. destruct H as (h & G & E). ands. now subst. Qed.

Theorem prim_stacks_ok l s t : prim l s t -> stacks_ok s -> stacks_ok t.
Proof.
  intros p K. destruct (stacks_cases l s t p)
    as [[S H]|[(a & ->)|[(c & v & ->)|[(c & ->)|[(a & ->)|[(x & a & ->)|(x & ->)]]]]]]; pose proof K as [K1 K2 K3 K4].
  - split; rewrite ?S, ?H; assumption.
  - unfold run_own. destruct (own_of a s) as [x|] eqn:O; [|exact K]. destruct (stack_of x s) eqn:T; [|exact K].
    destruct (in_some_stack a s) eqn:F; [exact K|]. apply own_of_spec in O. split; fields; auto.
    + intros y l'. rewrite get_set. destruct (y =? x); [|apply K1]. intros [= <-]. repeat constructor. easy.
    + intros y z l' m t'. rewrite !get_set. destruct (N.eqb_spec y x), (N.eqb_spec z x); try congruence.
      * intros [= <-] G [<-|[]] I. exfalso. eapply not_in_stack; eauto.
      * intros G [= <-] I [<-|[]]. exfalso. eapply not_in_stack; eauto.
      * apply K2.
    + intros y l'. rewrite get_set. destruct (N.eqb_spec y x) as [->|]; [|apply K3]. intros [= <-]. now split.
  - unfold lend. destruct (held_by c s) as [x|] eqn:O; [|exact K]. destruct (_ || _) eqn:F; [exact K|]. ands.
    apply held_by_spec in O. destruct O as [r O]. assert (stack_of x s = c :: r) as T by (unfold stack_of; now rewrite O).
    rewrite T. split; fields; auto.
    + intros y l'. rewrite get_set. destruct (y =? x); [|apply K1]. intros [= <-]. constructor; [|eapply K1; eauto].
      eapply not_in_stack; eauto.
    + intros y z l' m t'. rewrite !get_set. destruct (N.eqb_spec y x) as [->|], (N.eqb_spec z x) as [->|]; try congruence.
      * intros [= <-] G [<-|I] J; [exfalso; eapply not_in_stack; eauto|]. eapply K2; eauto.
      * intros G [= <-] I [<-|J]; [exfalso; eapply not_in_stack; eauto|]. symmetry. eapply K2; eauto.
      * apply K2.
    + intros y l'. rewrite get_set. destruct (N.eqb_spec y x) as [->|]; [|apply K3]. intros [= <-]. split; [easy|].
      exact (proj2 (K3 _ _ O)).
  - unfold take_back. destruct (lent_by c s) as [x|] eqn:O; [|exact K]. apply lent_by_spec in O. destruct O as (h & r & O & I).
    assert (stack_of x s = h :: r) as T by (unfold stack_of; now rewrite O). rewrite T.
    destruct (from_last c (h :: r) (or_intror I)) as (A & _ & B). split; fields; auto.
    + intros y l'. rewrite get_set. destruct (y =? x); [|apply K1]. intros [= <-]. apply (from_nodup c (h :: r)). eauto.
    + intros y z l' m t'. rewrite !get_set. destruct (N.eqb_spec y x) as [->|], (N.eqb_spec z x) as [->|]; try congruence.
      * intros [= <-] G J. apply (from_incl c (h :: r)) in J. eapply K2; eauto.
      * intros G [= <-] J L. apply (from_incl c (h :: r)) in L. eapply K2; eauto.
      * apply K2.
    + intros y l'. rewrite get_set. destruct (N.eqb_spec y x) as [->|]; [|apply K3]. intros [= <-].
      destruct (K3 _ _ O) as [_ Q]. split; [exact A|]. now rewrite Q, <- B.
  - unfold let_go. destruct (held_by a s) as [x|]; [|exact K]. destruct (stack_of x s) as [|? []]; try exact K.
    split; fields; auto.
    + intros y l'. rewrite get_del. destruct (y =? x); [discriminate|apply K1].
    + intros y z l' m t'. rewrite !get_del. destruct (y =? x); [discriminate|]. destruct (z =? x); [discriminate|apply K2].
    + intros y l'. rewrite get_del. destruct (y =? x); [discriminate|apply K3].
  - unfold bind_home. destruct (_ && _) eqn:G; [|exact K]. ands. destruct (own_of a s) eqn:O; [discriminate|].
    split; fields; auto.
    + intros y l' Q. rewrite get_set. destruct (N.eqb_spec y x) as [->|]; [|now apply K3].
      match goal with F : has x (stacks s) = false |- _ => apply has_false in F; congruence end.
    + intros y z t'. rewrite !get_set. destruct (N.eqb_spec y x), (N.eqb_spec z x); try congruence.
      * intros [= <-] Q. pose proof (search_none _ _ _ _ O Q) as F. cbn in F. rewrite N.eqb_refl in F. discriminate.
      * intros Q [= <-]. pose proof (search_none _ _ _ _ O Q) as F. cbn in F. rewrite N.eqb_refl in F. discriminate.
      * apply K4.
  - unfold unbind_home. split; fields.
    + intros y l'. rewrite get_del. destruct (y =? x); [discriminate|apply K1].
    + intros y z l' m t'. rewrite !get_del. destruct (y =? x); [discriminate|]. destruct (z =? x); [discriminate|apply K2].
    + intros y l'. rewrite !get_del. destruct (y =? x); [discriminate|apply K3].
    + intros y z t'. rewrite !get_del. destruct (y =? x); [discriminate|]. destruct (z =? x); [discriminate|apply K4].
Qed.

(** Who lent a context has it back, wherever along the chain it is. *)
Lemma take_back_returns c x s : stacks_ok s -> lent_by c s = Some x -> holder_of x (take_back c s) = Some c.
Proof.
  intros K O. unfold take_back. rewrite O. apply lent_by_spec in O. destruct O as (h & r & O & I).
  unfold holder_of, stack_of. fields. rewrite get_set, N.eqb_refl, O. apply (from_last c (h :: r) (or_intror I)).
Qed.
