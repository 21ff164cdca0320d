using System.CommandLine;
using System.Runtime.InteropServices;

namespace DeepSeek.Cli.Commands;

/// <summary>An interactive chat, or one answer where a prompt is given. Ctrl-C stops the answer, not the program.</summary>
internal sealed class ChatCommand : Command
{
    private readonly Argument<string?> prompt = CommandLine.Text("prompt", "One question to answer; without it the chat is interactive.");
    private readonly Option<string?> system = new("--system", "-s") { Description = "Instructions for the whole conversation." };
    private readonly Option<bool> stats = new("--stats") { Description = "After each answer: tokens and tokens per second." };
    private readonly ModelOptions model = new();
    private readonly SamplingOptions sampling = new();

    public ChatCommand() : base("chat", "Chat interactively, or answer one prompt.")
    {
        Arguments.Add(prompt);
        Options.Add(system);
        Options.Add(stats);
        model.AddTo(this);
        sampling.AddTo(this);
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        await using LanguageModel loaded = await model.LoadAsync(parsed, cancellationToken);
        Terminal.Notice(loaded.Info.ToString());
        foreach (string warning in loaded.Info.Warnings) Terminal.Notice($"note: {warning}");
        GenerationOptions options = sampling.Options(parsed, model.IsEmbeddedDefault(parsed));
        var conversation = new List<Message>();
        if (parsed.GetValue(system) is { } instructions) conversation.Add(Message.System(instructions));
        int first = conversation.Count;

        using var answering = new Interruption();
        if (parsed.GetValue(prompt) is { } question)
        {
            conversation.Add(Message.User(question));
            return await AnswerAsync(loaded, conversation, options, parsed.GetValue(stats), answering) ? 0 : 130;
        }

        Terminal.Notice("Type a message. /clear forgets the conversation, /exit leaves, Ctrl-C stops an answer.");
        while (true)
        {
            if (!Console.IsInputRedirected) Terminal.Write("> ");
            string? line = Console.ReadLine();
            if (line is null || line.Trim() is "/exit" or "/quit") return 0;
            if (string.IsNullOrWhiteSpace(line)) continue;
            if (line.Trim() == "/clear")
            {
                conversation.RemoveRange(first, conversation.Count - first);
                continue;
            }
            if (line.StartsWith('/'))
            {
                Terminal.Notice("Unknown command. There are /clear and /exit.");
                continue;
            }
            conversation.Add(Message.User(line));
            try
            {
                await AnswerAsync(loaded, conversation, options, parsed.GetValue(stats), answering);
            }
            catch (ModelException e)
            {
                // The conversation goes on without the message that could not be answered.
                conversation.RemoveAt(conversation.Count - 1);
                Terminal.Error(e.Message);
            }
        }
    }

    /// <summary>Streams an answer and adds it to the conversation. False where it was stopped.</summary>
    private static async Task<bool> AnswerAsync(LanguageModel model, List<Message> conversation, GenerationOptions options, bool stats, Interruption interruption)
    {
        var answer = new System.Text.StringBuilder();
        var reasoning = new System.Text.StringBuilder();
        GenerationUsage? usage = null;
        bool complete = true;
        using CancellationTokenSource stop = interruption.Begin();
        try
        {
            await foreach (GenerationUpdate update in model.GenerateAsync(conversation, options, stop.Token))
            {
                if (update.Kind == UpdateKind.Answer && answer.Length == 0 && reasoning.Length > 0 && update.Text.Length > 0) Terminal.EndReasoning();
                if (update.Kind == UpdateKind.Reasoning) Terminal.WriteReasoning(update.Text);
                else Terminal.Write(update.Text);
                (update.Kind == UpdateKind.Reasoning ? reasoning : answer).Append(update.Text);
                if (update.ToolCall is { } call) Terminal.Write($"{call.Name}({call.Arguments.GetRawText()})");
                usage = update.Usage ?? usage;
            }
        }
        catch (OperationCanceledException)
        {
            complete = false;
        }
        interruption.End();
        Terminal.Write("\n");
        conversation.Add(Message.Assistant(answer.ToString()) with { Reasoning = reasoning.Length > 0 ? reasoning.ToString() : null });
        if (!complete) Terminal.Notice("(stopped)");
        if (stats && usage is not null) Terminal.Notice(Statistics.Line(usage));
        return complete;
    }

    /// <summary>Turns Ctrl-C into the end of the running answer; with no answer running it ends the program as usual.</summary>
    private sealed class Interruption : IDisposable
    {
        private readonly PosixSignalRegistration registration;
        private volatile CancellationTokenSource? current;

        public Interruption() => registration = PosixSignalRegistration.Create(PosixSignal.SIGINT, context =>
        {
            if (current is not { } running) return;
            context.Cancel = true;
            running.Cancel();
        });

        public CancellationTokenSource Begin() => current = new CancellationTokenSource();

        public void End() => current = null;

        public void Dispose() => registration.Dispose();
    }
}
