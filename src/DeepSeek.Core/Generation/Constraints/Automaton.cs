namespace DeepSeek.Generation.Constraints;

/// <summary>
/// A deterministic finite automaton over bytes, start state 0, without dead states: what regular languages become where they are intersected or
/// complemented. An empty language has no automaton (null).
/// </summary>
internal sealed class Automaton
{
    /// <summary>States that one automaton may have before the schema is refused.</summary>
    public const int StateLimit = 60_000;

    private Automaton(byte[] classes, int classCount, int[] next, bool[] accepting) =>
        (Classes, ClassCount, Next, Accepting) = (classes, classCount, next, accepting);

    /// <summary>[256]</summary>
    public byte[] Classes { get; }

    public int ClassCount { get; }

    /// <summary>[states, classes]; −1 where nothing follows.</summary>
    public int[] Next { get; }

    public bool[] Accepting { get; }

    public int StateCount => Accepting.Length;

    /// <summary>Whether the state accepts and nothing follows.</summary>
    public bool IsFinal(int state)
    {
        if (!Accepting[state]) return false;
        return !Next.AsSpan(state * ClassCount, ClassCount).ContainsAnyExcept(-1);
    }

    /// <summary>Explores a deterministic machine; null where it accepts nothing.</summary>
    /// <param name="start">The start state.</param>
    /// <param name="classes">Bytes of a class must lead to the same state from every state.</param>
    /// <param name="classCount">Number of classes.</param>
    /// <param name="step">The next state.</param>
    /// <param name="accepts">Whether a state accepts.</param>
    /// <exception cref="AutomatonTooLargeException">Over <see cref="StateLimit"/> states.</exception>
    public static Automaton? Build<T>(T start, byte[] classes, int classCount, Func<T, byte, (bool Alive, T State)> step, Func<T, bool> accepts)
        where T : notnull
    {
        byte[] bytes = ByteClasses.Representatives(classes, classCount);
        var ids = new Dictionary<T, int> { [start] = 0 };
        var states = new List<T> { start };
        var next = new List<int>();
        for (int s = 0; s < states.Count; s++)
        {
            foreach (byte b in bytes)
            {
                (bool alive, T state) = step(states[s], b);
                int id = -1;
                if (alive && !ids.TryGetValue(state, out id))
                {
                    if (states.Count >= StateLimit) throw new AutomatonTooLargeException();
                    ids[state] = id = states.Count;
                    states.Add(state);
                }
                next.Add(alive ? id : -1);
            }
        }
        return Trim(classes, classCount, [.. next], [.. states.Select(accepts)]);
    }

    public static Automaton? FromTerm(TermFactory factory, Term term)
    {
        var reached = new HashSet<Term>(ReferenceEqualityComparer.Instance) { term };
        var queue = new List<Term> { term };
        var maps = new HashSet<byte[]>(ReferenceEqualityComparer.Instance);
        for (int i = 0; i < queue.Count; i++)
        {
            TransitionTable table = queue[i].Table ?? factory.Expand(queue[i]);
            maps.Add(table.Classes);
            foreach (Term t in table.Targets)
            {
                if (t.IsEmpty || !reached.Add(t)) continue;
                if (queue.Count >= StateLimit) throw new AutomatonTooLargeException();
                queue.Add(t);
            }
        }
        byte[] classes = ByteClasses.Refine(maps, out int count);
        return Build(term, classes, count, (t, b) => (!factory.Next(t, b).IsEmpty, factory.Next(t, b)), t => t.Nullable);
    }

    /// <summary>What both accept.</summary>
    public static Automaton? Intersect(Automaton? a, Automaton? b)
    {
        if (a is null || b is null) return null;
        byte[] classes = ByteClasses.Refine([a.Classes, b.Classes], out int count);
        return Build((0, 0), classes, count, Step, s => a.Accepting[s.Item1] && b.Accepting[s.Item2]);

        (bool, (int, int)) Step((int X, int Y) s, byte value)
        {
            int x = a.Next[s.X * a.ClassCount + a.Classes[value]], y = b.Next[s.Y * b.ClassCount + b.Classes[value]];
            return (x >= 0 && y >= 0, (x, y));
        }
    }

    /// <summary>What the first accepts and the second does not.</summary>
    public static Automaton? Except(Automaton? a, Automaton? b)
    {
        if (a is null || b is null) return a;
        byte[] classes = ByteClasses.Refine([a.Classes, b.Classes], out int count);
        return Build((0, 0), classes, count, Step, s => a.Accepting[s.Item1] && (s.Item2 < 0 || !b.Accepting[s.Item2]));

        (bool, (int, int)) Step((int X, int Y) s, byte value)
        {
            int x = a.Next[s.X * a.ClassCount + a.Classes[value]], y = s.Y < 0 ? -1 : b.Next[s.Y * b.ClassCount + b.Classes[value]];
            return (x >= 0, (x, y));
        }
    }

    /// <summary>The texts of this language that have between low and high characters.</summary>
    /// <param name="character">One character: accepting states are final, and no character begins like another whole one.</param>
    /// <param name="low">The least number.</param>
    /// <param name="high">The greatest number, or <see cref="Term.Unbounded"/>.</param>
    public Automaton? OfLength(Automaton character, int low, int high)
    {
        byte[] classes = ByteClasses.Refine([Classes, character.Classes], out int count);
        return Build((State: 0, Within: 0, Length: 0), classes, count, Step, s => Accepting[s.State] && s.Within == 0 && s.Length >= low);

        (bool, (int, int, int)) Step((int State, int Within, int Length) s, byte value)
        {
            int state = Next[s.State * ClassCount + Classes[value]], within = character.Next[s.Within * character.ClassCount + character.Classes[value]];
            if (state < 0 || within < 0) return (false, s);
            if (!character.Accepting[within]) return (s.Length < high, (state, within, s.Length));
            // Without an upper limit counting ends at the lower one.
            return (s.Length < high, (state, 0, high == Term.Unbounded ? Math.Min(s.Length + 1, low) : s.Length + 1));
        }
    }

    /// <summary>The same language without what follows an accepting state: the text up to its first match.</summary>
    public Automaton StopAtFirstMatch()
    {
        int[] next = [.. Next];
        for (int s = 0; s < StateCount; s++)
            if (Accepting[s]) next.AsSpan(s * ClassCount, ClassCount).Fill(-1);
        return Trim(Classes, ClassCount, next, Accepting)!;
    }

    /// <summary>The same language without the texts that need a byte outside a set.</summary>
    public Automaton? Restrict(ByteSet alphabet)
    {
        var inside = new byte[256];
        for (int i = 0; i < 256; i++) inside[i] = alphabet[(byte)i] ? (byte)1 : (byte)0;
        byte[] classes = ByteClasses.Refine([Classes, inside], out int count);
        return Build(0, classes, count, (s, b) => (alphabet[b] && Next[s * ClassCount + Classes[b]] >= 0, Next[s * ClassCount + Classes[b]]), s => Accepting[s]);
    }

    private static Automaton? Trim(byte[] classes, int classCount, int[] next, bool[] accepting)
    {
        int count = accepting.Length;
        var sources = new List<int>[count];
        for (int s = 0; s < count; s++)
            for (int c = 0; c < classCount; c++)
                if (next[s * classCount + c] is >= 0 and int to) (sources[to] ??= []).Add(s);
        var live = new bool[count];
        var queue = new Stack<int>();
        for (int s = 0; s < count; s++)
            if (accepting[s]) Mark(s);
        while (queue.TryPop(out int s))
            foreach (int from in sources[s] ?? []) Mark(from);
        if (!live[0]) return null;

        // Renumber in the order of discovery from the start: what only dead ends led to goes as well.
        var number = new int[count];
        Array.Fill(number, -1);
        var order = new List<int> { 0 };
        number[0] = 0;
        var packed = new List<int>();
        for (int i = 0; i < order.Count; i++)
        {
            for (int c = 0; c < classCount; c++)
            {
                int to = next[order[i] * classCount + c];
                if (to >= 0 && live[to] && number[to] < 0)
                {
                    number[to] = order.Count;
                    order.Add(to);
                }
                packed.Add(to >= 0 && live[to] ? number[to] : -1);
            }
        }
        return new(classes, classCount, [.. packed], [.. order.Select(s => accepting[s])]);

        void Mark(int s)
        {
            if (live[s]) return;
            live[s] = true;
            queue.Push(s);
        }
    }
}

/// <summary>Intersecting or complementing languages took too many states; whoever knows the keyword reports it.</summary>
internal sealed class AutomatonTooLargeException() : Exception($"Over {Automaton.StateLimit} states.");
