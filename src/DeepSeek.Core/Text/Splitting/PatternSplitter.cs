using DeepSeek.Text.Unicode;

namespace DeepSeek.Text.Splitting;

/// <summary>
/// Runs any parsed pattern by backtracking, code point by code point. A state (instruction, position) that failed is remembered while the search goes on, so
/// that the time grows with the text's length and not with its square: whether a state fails depends on nothing else, as there are no groups to refer back
/// to.
/// </summary>
internal sealed class PatternSplitter : Splitter
{
    private const int MaxInstructions = 20_000;

    private enum Op { Set, Character, Split, Jump, Anchor, Look, Atomic, Accept }

    /// <param name="Op">What to do.</param>
    /// <param name="A">Split: first choice. Jump: target. Look, Atomic: where to go on. Character: its code. Anchor: its kind.</param>
    /// <param name="B">Split: second choice. Look: 1 = negative.</param>
    /// <param name="Set">Set: which.</param>
    private readonly record struct Instruction(Op Op, int A = 0, int B = 0, RuneSet? Set = null);

    private readonly List<Instruction> code = [];
    private readonly Instruction[] program;

    /// <exception cref="UnsupportedModelException">The pattern is too large.</exception>
    public PatternSplitter(Pattern pattern)
    {
        Compile(pattern);
        Emit(new(Op.Accept));
        program = [.. code];
    }

    private int Emit(Instruction instruction)
    {
        if (code.Count >= MaxInstructions)
            throw new UnsupportedModelException($"A regular expression of the tokenizer needs more than {MaxInstructions} instructions; this library runs none so large.");
        code.Add(instruction);
        return code.Count - 1;
    }

    private void Compile(Pattern pattern)
    {
        switch (pattern)
        {
            case Pattern.Character c: Emit(new(Op.Character, c.Code)); break;
            case Pattern.One one: Emit(new(Op.Set, Set: one.Set)); break;
            case Pattern.Anchor anchor: Emit(new(Op.Anchor, (int)anchor.Kind)); break;
            case Pattern.Sequence s: foreach (Pattern part in s.Parts) Compile(part); break;
            case Pattern.Choice choice: Compile(choice); break;
            case Pattern.Repeat repeat: Compile(repeat); break;
            case Pattern.Atomic atomic: Inner(Op.Atomic, atomic.Body, 0); break;
            case Pattern.LookAhead look: Inner(Op.Look, look.Body, look.Negative ? 1 : 0); break;
            default: throw new InvalidOperationException(pattern.GetType().Name);
        }
    }

    private void Inner(Op op, Pattern body, int negative)
    {
        int head = Emit(new(op));
        Compile(body);
        Emit(new(Op.Accept));
        code[head] = new(op, code.Count, negative);
    }

    private int EmitSplit() => Emit(new(Op.Split));

    private void Patch(int split, int first, int second) => code[split] = code[split] with { A = first, B = second };

    private void Compile(Pattern.Choice choice)
    {
        var jumps = new List<int>();
        for (int i = 0; i < choice.Options.Count; i++)
        {
            bool last = i == choice.Options.Count - 1;
            int split = last ? -1 : EmitSplit();
            Compile(choice.Options[i]);
            if (last) break;
            jumps.Add(Emit(new(Op.Jump)));
            Patch(split, split + 1, code.Count);
        }
        foreach (int jump in jumps) code[jump] = new(Op.Jump, code.Count);
    }

    private void Compile(Pattern.Repeat repeat)
    {
        for (int i = 0; i < repeat.Min; i++) Compile(repeat.Body);
        if (repeat.Max is null)
        {
            int loop = EmitSplit();
            Compile(repeat.Body);
            Emit(new(Op.Jump, loop));
            Patch(loop, repeat.Lazy ? code.Count : loop + 1, repeat.Lazy ? loop + 1 : code.Count);
            return;
        }
        var options = new List<int>();
        for (int i = repeat.Min; i < repeat.Max; i++)
        {
            options.Add(EmitSplit());
            Compile(repeat.Body);
        }
        foreach (int split in options) Patch(split, repeat.Lazy ? code.Count : split + 1, repeat.Lazy ? split + 1 : code.Count);
    }

    public override bool Find(ReadOnlySpan<char> text, int from, ref SearchMemory? memory, out int start, out int end)
    {
        memory ??= new SearchMemory();
        memory.Steps = 0;
        for (start = from; start <= text.Length; start++)
        {
            if (start > from && start < text.Length && char.IsLowSurrogate(text[start])) continue;
            end = Run(text, 0, start, memory);
            if (end >= 0) return true;
        }
        start = end = text.Length;
        return false;
    }

    /// <summary>Where the match that begins with this instruction at this position ends; -1 where there is none.</summary>
    private int Run(ReadOnlySpan<char> text, int pc, int position, SearchMemory memory)
    {
        Stack<(int Pc, int Position)> stack = memory.Stack;
        int bottom = stack.Count;
        while (true)
        {
            ref readonly Instruction i = ref program[pc];
            bool ok = true;
            switch (i.Op)
            {
                case Op.Accept:
                    while (stack.Count > bottom) stack.Pop();
                    return position;
                case Op.Jump: pc = i.A; continue;
                case Op.Split:
                    if (memory.Steps++ > SearchMemory.Patience)
                    {
                        if (memory.HasFailed(pc, position)) { ok = false; break; }
                        stack.Push((~pc, position)); // reached again when both ways have failed
                    }
                    stack.Push((i.B, position));
                    pc = i.A;
                    continue;
                case Op.Character or Op.Set:
                    if (position >= text.Length) { ok = false; break; }
                    int c = CharacterTables.CodePointAt(text, position, out int length);
                    ok = i.Op == Op.Set ? i.Set!.Contains(c) : c == i.A;
                    position += length;
                    pc++;
                    break;
                case Op.Anchor:
                    ok = Holds((AnchorKind)i.A, text, position);
                    pc++;
                    break;
                case Op.Look:
                    ok = Run(text, pc + 1, position, memory) >= 0 == (i.B == 0);
                    pc = i.A;
                    break;
                case Op.Atomic:
                    int end = Run(text, pc + 1, position, memory);
                    ok = end >= 0;
                    position = end;
                    pc = i.A;
                    break;
            }
            if (ok) continue;
            while (true)
            {
                if (stack.Count == bottom) return -1;
                (pc, position) = stack.Pop();
                if (pc >= 0) break;
                memory.Fail(~pc, position);
            }
        }
    }

    private static bool Holds(AnchorKind kind, ReadOnlySpan<char> text, int position) => kind switch
    {
        AnchorKind.LineStart => position == 0 || (text[position - 1] == '\n' && position < text.Length),
        AnchorKind.LineEnd => position == text.Length || text[position] == '\n',
        AnchorKind.TextStart => position == 0,
        _ => position == text.Length,
    };
}

/// <summary>What the searches through one text remember from one to the next: a stack to use again, and states that have failed.</summary>
internal sealed class SearchMemory
{
    /// <summary>States are remembered from this many choices on: most searches end sooner, and a set costs more than it saves there.</summary>
    public const int Patience = 64;

    /// <summary>A bound on memory, not on correctness: forgetting costs only time.</summary>
    private const int MaxFailed = 1 << 23;

    private readonly HashSet<long> failed = [];

    public Stack<(int Pc, int Position)> Stack { get; } = new();

    /// <summary>Choices made in this search.</summary>
    public int Steps { get; set; }

    public bool HasFailed(int instruction, int position) => failed.Contains(Key(instruction, position));

    public void Fail(int instruction, int position)
    {
        if (failed.Count >= MaxFailed) failed.Clear();
        failed.Add(Key(instruction, position));
    }

    private static long Key(int instruction, int position) => ((long)instruction << 32) | (uint)position;
}
