(** Calls: answered at most once, one caller served at a time, chains bounded and without circles (properties 13, 15). *)
From Coq Require Import PeanoNat.
From Ecusson Require Export Inv.Tactics.
Open Scope N_scope.

Definition event_eqb (x y : event) : bool :=
  match x, y with ECalled a, ECalled b | EAnswered a, EAnswered b => a =? b | _, _ => false end.
Fixpoint occurs (e : event) (l : list event) : nat :=
  match l with [] => O | x :: r => if event_eqb x e then S (occurs e r) else occurs e r end.

(** The chain that begins at a thread ends. *)
Inductive ends (m : map callrec) (t : N) : Prop :=
  | ends_free : get t m = None -> ends m t
  | ends_next k : get t m = Some k -> ends m (k_server k) -> ends m t.

(** [n] served calls, one in the other, of which the last is served by [t]. *)
Inductive serving (m : map callrec) : nat -> N -> Prop :=
  | serving_none t : serving m 0 t
  | serving_one n c k : get c m = Some k -> k_phase k = Served -> serving m n c -> serving m (S n) (k_server k).

Record calls_ok (s : state) : Prop := {
  c_answers : forall t, (occurs (EAnswered t) (trace s) + (if has t (calls s) then 1 else 0) <= occurs (ECalled t) (trace s))%nat;
  c_single : forall c k d l, get c (calls s) = Some k -> get d (calls s) = Some l ->
    k_phase k = Served -> k_phase l = Served -> k_server k = k_server l -> c = d;
  c_ends : forall t, ends (calls s) t;
  c_bound : forall n t, serving (calls s) n t -> (n < MAX_CALL_DEPTH)%nat
}.

Lemma calls_cases l s t : prim l s t ->
  (calls t = calls s /\ trace t = trace s) \/ (exists c v via level, t = call_begin c v via level s)
  \/ (exists c, t = call_serve c s) \/ (exists c b, t = call_end c b s).
Proof.
  intro p. destruct p; try (left; open_prims; split_guards; split; reflexivity); eauto 8.
Qed.

Lemma chain_free_ends fuel c v k s : has c (calls s) = false ->
  is_chain_free fuel c (Some v) s = true -> ends (set c k (calls s)) v.
Proof.
  intro F. revert v. induction fuel as [|n IH]; intro v; cbn [is_chain_free]; [discriminate|].
  destruct (N.eqb_spec v c) as [|ne]; [discriminate|]. unfold callee_of.
  destruct (get v (calls s)) as [q|] eqn:G; cbn [option_map]; intro H.
  - apply (ends_next _ _ q); [|now apply IH]. rewrite get_set. now destruct (N.eqb_spec v c).
  - apply ends_free. rewrite get_set. now destruct (N.eqb_spec v c).
Qed.

Lemma begin_ok c v via level s : calls_ok s -> calls_ok (call_begin c v via level s).
Proof.
  intros [K1 K2 K3 K4]. unfold call_begin. destruct (_ && _) eqn:G; [|now split]. ands.
  split; fields.
  - intro t. specialize (K1 t). cbn [occurs event_eqb]. unfold has in *. rewrite get_set, (N.eqb_sym c t).
    destruct (N.eqb_spec t c) as [->|]; [|exact K1]. destruct (get c (calls s)); [discriminate|]. lia.
  - intros a k d l. rewrite !get_set. destruct (a =? c); [intros [= <-]; discriminate|].
    destruct (d =? c); [intros _ [= <-]; discriminate|]. apply K2.
  - intro t. specialize (K3 t). induction K3 as [t E|t k E _ IH].
    + destruct (N.eqb_spec t c) as [->|].
      * eapply ends_next; [rewrite get_set, N.eqb_refl; reflexivity|]. cbn. eapply chain_free_ends; eassumption.
      * apply ends_free. rewrite get_set. now destruct (N.eqb_spec t c).
    + apply (ends_next _ _ k); [|exact IH]. rewrite get_set. destruct (N.eqb_spec t c) as [->|]; [|exact E].
      apply has_false in H. congruence.
  - intros n t S. apply (K4 n t). induction S as [|n a k E P _ IH]; [constructor|].
    apply (serving_one _ n a); auto. rewrite get_set in E. destruct (a =? c); [injection E as <-; discriminate|exact E].
Qed.

Lemma end_ok c b s : calls_ok s -> calls_ok (call_end c b s).
Proof.
  intros [K1 K2 K3 K4]. unfold call_end. destruct (has c (calls s)) eqn:H; [|now split]. split; fields.
  - intro t. specialize (K1 t). unfold has in *. rewrite get_del.
    destruct b; cbn [occurs event_eqb]; rewrite ?(N.eqb_sym c t); destruct (N.eqb_spec t c) as [->|]; try exact K1;
      destruct (get c (calls s)); try discriminate; lia.
  - intros a k d l. rewrite !get_del. destruct (a =? c); [discriminate|]. destruct (d =? c); [discriminate|]. apply K2.
  - intro t. specialize (K3 t). induction K3 as [t E|t k E _ IH].
    + apply ends_free. rewrite get_del. now destruct (t =? c).
    + destruct (t =? c) eqn:Q; [apply ends_free; now rewrite get_del, Q|].
      apply (ends_next _ _ k); [now rewrite get_del, Q|exact IH].
  - intros n t S. apply (K4 n t). induction S as [|n a k E P _ IH]; [constructor|].
    apply (serving_one _ n a); auto. rewrite get_del in E. now destruct (a =? c).
Qed.

Lemma caller_of_none v s c k : caller_of v s = None -> get c (calls s) = Some k -> k_phase k = Served -> k_server k <> v.
Proof.
  intros H G P E. unfold caller_of in H. pose proof (search_none _ _ _ _ H G) as F. cbn in F.
  rewrite P, E, N.eqb_refl in F. discriminate.
Qed.

Lemma serving_depth s n t fuel : calls_ok s -> serving (calls s) n t -> (n <= fuel)%nat -> (n <= depth_of fuel t s)%nat.
Proof.
  intros K S. revert fuel. induction S as [|n c k E P S IH]; intros fuel L; [lia|].
  destruct fuel as [|fuel]; [lia|]. cbn [depth_of]. destruct (caller_of (k_server k) s) as [d|] eqn:C.
  - unfold caller_of in C. apply search_some in C. destruct C as (l & G & T). ands. destruct (k_phase l) eqn:Q; [|discriminate].
    assert (c = d) as -> by (eapply (c_single s K); eauto). specialize (IH fuel). lia.
  - exfalso. eapply caller_of_none; eauto.
Qed.

Lemma serve_ok c s : calls_ok s -> calls_ok (call_serve c s).
Proof.
  intro K. unfold call_serve. destruct (get c (calls s)) as [k|] eqn:G; [|exact K]. destruct (_ && _) eqn:T; [|exact K].
  apply andb_prop in T. destruct T as [T F]. apply andb_prop in T. destruct T as [D C]. apply Nat.ltb_lt in D.
  apply negb_true_iff, has_false in F. destruct (caller_of (k_server k) s) eqn:N; [discriminate|]. clear C.
  pose proof (serving_depth s) as SD. pose proof K as [K1 K2 K3 K4].
  set (k' := Call (k_server k) Served (k_via k) (k_level k) (k_stamp k)). split; fields.
  - intro t. specialize (K1 t). unfold has in *. rewrite get_set. destruct (N.eqb_spec t c) as [->|]; [|exact K1]. now rewrite G in K1.
  - intros a x d y. rewrite !get_set. destruct (N.eqb_spec a c) as [->|], (N.eqb_spec d c) as [->|]; try congruence.
    + intros [= <-] Y _ P E. exfalso. eapply (caller_of_none (k_server k)); [exact N|exact Y|exact P|]. now rewrite <- E.
    + intros X [= <-] P _ E. exfalso. eapply (caller_of_none (k_server k)); [exact N|exact X|exact P|]. exact E.
    + apply K2.
  - intro t. specialize (K3 t). induction K3 as [t E|t q E _ IH].
    + apply ends_free. rewrite get_set. destruct (N.eqb_spec t c) as [->|]; [congruence|exact E].
    + destruct (N.eqb_spec t c) as [->|n].
      * apply (ends_next _ _ k'); [now rewrite get_set, N.eqb_refl|]. cbn. rewrite G in E. injection E as <-. exact IH.
      * apply (ends_next _ _ q); [|exact IH]. rewrite get_set. now destruct (N.eqb_spec t c).
  - assert (forall n t, serving (set c k' (calls s)) n t ->
      serving (calls s) n t \/ (t = k_server k /\ exists n', n = S n' /\ serving (calls s) n' c)) as Old.
    { intros n t S. induction S as [|n a q E P S IH]; [left; constructor|]. rewrite get_set in E.
      destruct (N.eqb_spec a c) as [->|].
      - injection E as <-. right. split; [reflexivity|]. exists n. split; [reflexivity|].
        destruct IH as [IH|[E _]]; [exact IH|]. congruence.
      - destruct IH as [IH|[-> _]]; [|congruence]. left. now apply (serving_one _ n a). }
    intros n t S. destruct (Old n t S) as [O|(-> & n' & -> & O)]; [now apply (K4 n t)|].
    specialize (K4 _ _ O) as L. specialize (SD n' c MAX_CALL_DEPTH K O). unfold depth in D. lia.
Qed.

Theorem prim_calls_ok l s t : prim l s t -> calls_ok s -> calls_ok t.
Proof.
  intros p K. destruct (calls_cases l s t p) as [[C T]|[(c & v & via & level & ->)|[(c & ->)|(c & b & ->)]]];
    auto using begin_ok, serve_ok, end_ok.
  destruct K as [K1 K2 K3 K4]. split; rewrite ?C, ?T; assumption.
Qed.

(** No thread waits, by however many calls, for itself. *)
Inductive waits_for (m : map callrec) (a : N) : N -> Prop :=
  | waits_directly k : get a m = Some k -> waits_for m a (k_server k)
  | waits_through k b : get a m = Some k -> waits_for m (k_server k) b -> waits_for m a b.
Lemma waits_step m a b k : waits_for m a b -> get b m = Some k -> waits_for m a (k_server k).
Proof. induction 1; intro G; [eapply waits_through; [eassumption|now apply waits_directly]|eapply waits_through; eauto]. Qed.
Lemma ends_acyclic m t : ends m t -> ~ waits_for m t t.
Proof.
  induction 1 as [t E|t k E _ IH]; intro W; [destruct W; congruence|]. apply IH.
  inversion W as [k' E' Q|k' b E' W' Q]; assert (k' = k) as -> by congruence.
  - rewrite Q. exact W.
  - exact (waits_step _ _ _ _ W' E).
Qed.
