// A conversation in a console: dotnet run --project samples/Chat.Minimal [model]
// The model is a GGUF file or a Hugging Face folder. The whole conversation is handed over each time; the engine finds what it has read before.
using DeepSeek;
using DeepSeek.Extensions;
using Microsoft.Extensions.AI;

await using LanguageModel model = await LanguageModel.LoadAsync(args.FirstOrDefault() ?? "samples/models/SmolLM2-135M-Instruct.Q4_1.gguf");
IChatClient client = model.AsIChatClient();
Console.Error.WriteLine(model.Info);

ChatOptions options = new() { Temperature = 0 }; // the most probable token always; leave it out for the model's own setting
List<ChatMessage> history = [];
while (Prompt() is { Length: > 0 } question)
{
    history.Add(new(ChatRole.User, question));
    List<ChatResponseUpdate> updates = [];
    bool isThinking = false;
    await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(history, options))
    {
        updates.Add(update);
        foreach (AIContent content in update.Contents)
        {
            if (content is TextContent && isThinking) Console.Error.WriteLine();
            isThinking = content is TextReasoningContent;
            if (content is TextReasoningContent thought) Console.Error.Write(thought.Text); // the thought goes elsewhere than the answer
            if (content is TextContent answer) Console.Write(answer.Text);
        }
    }
    Console.WriteLine();
    history.AddMessages(updates);
}

static string? Prompt()
{
    if (!Console.IsInputRedirected) Console.Write("> ");
    return Console.ReadLine();
}
