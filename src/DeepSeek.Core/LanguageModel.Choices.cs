using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using DeepSeek.Generation;

namespace DeepSeek;

public sealed partial class LanguageModel
{
    /// <summary>Most answers to one prompt at a time.</summary>
    public const int MaxChoices = 64;

    /// <summary>
    /// Streams several answers to one conversation: its prompt is computed once, and the answers share its cache until they differ. Answer i is the one that
    /// <see cref="GenerateAsync"/> would give with the seed <see cref="GenerationOptions.Seed"/> + i.
    /// </summary>
    /// <param name="messages">The whole conversation so far.</param>
    /// <param name="count">How many answers, 1 to <see cref="MaxChoices"/>.</param>
    /// <param name="options">How answers are generated; null for the model's defaults.</param>
    /// <param name="cancellationToken">Ends the requests within one step. Leaving the enumeration does the same.</param>
    /// <returns>The answers' updates as they come; each answer ends with its own last update.</returns>
    /// <exception cref="InvalidOptionException">An option is impossible.</exception>
    /// <exception cref="ModelException">As for <see cref="GenerateAsync"/>; an error of one answer ends all.</exception>
    public async IAsyncEnumerable<ChoiceUpdate> GenerateChoicesAsync(IReadOnlyList<Message> messages, int count, GenerationOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        if (count is < 1 or > MaxChoices) throw new InvalidOptionException($"{nameof(count)} is {count}, expected 1 to {MaxChoices}.");
        cancellationToken.ThrowIfCancellationRequested();
        ObjectDisposedException.ThrowIf(disposed != 0, this);
        options ??= new GenerationOptions();
        Prompt prompt = Render(messages, options, true);
        long seed = options.Seed ?? BitConverter.ToInt64(RandomNumberGenerator.GetBytes(8));
        var answers = new AnswerStream[count];
        for (int i = count - 1; i >= 0; i--)
        {
            GenerationOptions own = options with { Seed = unchecked(seed + i) };
            GenerationRequest request = NewRequest(prompt.Tokens, own, OutputGuide.For(loaded, prompt, own, true), followers: i == 0 ? [.. answers[1..].Select(a => a.Request)] : null);
            answers[i] = new AnswerStream(request, NewReader(prompt, own, true), loaded.Engine, loaded.Prompter?.Calls, prompt.Text);
        }
        loaded.Engine.Submit(answers[0].Request);
        await using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(_ => { foreach (AnswerStream a in answers) loaded.Engine.Cancel(a.Request); }, null);
        var updates = new List<GenerationUpdate>();
        var waits = new Task?[count];
        try
        {
            while (answers.Any(a => !a.IsOver))
            {
                for (int i = 0; i < count; i++)
                    if (!answers[i].IsOver) waits[i] ??= answers[i].WaitAsync().AsTask();
                await Task.WhenAny(waits.OfType<Task>()).ConfigureAwait(false);
                for (int i = 0; i < count; i++)
                {
                    if (waits[i]?.IsCompleted != true) continue;
                    waits[i] = null;
                    answers[i].Drain(updates, cancellationToken);
                    foreach (GenerationUpdate update in updates) yield return new ChoiceUpdate(i, update);
                    updates.Clear();
                }
            }
        }
        finally
        {
            foreach (AnswerStream a in answers) a.Leave();
        }
    }
}
